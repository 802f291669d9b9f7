//! Whether a password fits a hash: both flow in, yes or no flows out. Pure, and slow by design; the time it takes depends on
//! the hash and the length of the password, not on how much of it is right.

use md5::{Digest, Md5};
use nearside_routing::credentials::{PasswordHash, ShaCrypt};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};
use subtle::ConstantTimeEq;

/// Whether a password is the one that was hashed.
pub(crate) fn fits(password: &[u8], hash: &PasswordHash) -> bool {
    let equal = |computed: &str, known: &str| bool::from(computed.as_bytes().ct_eq(known.as_bytes()));
    match hash {
        PasswordHash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        PasswordHash::Md5 { magic, salt, digest } => equal(&md5_crypt(password, magic, salt), digest),
        PasswordHash::Sha1(known) => {
            let computed = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
            equal(&base64::Engine::encode(&base64::engine::general_purpose::STANDARD, computed), known)
        }
        PasswordHash::Sha256Crypt(ShaCrypt { rounds, salt, digest }) => {
            let computed = Sha256Params::new(*rounds as usize)
                .and_then(|params| sha256_crypt_b64(password, salt.as_bytes(), &params));
            computed.is_ok_and(|computed| equal(&computed, digest))
        }
        PasswordHash::Sha512Crypt(ShaCrypt { rounds, salt, digest }) => {
            let computed = Sha512Params::new(*rounds as usize)
                .and_then(|params| sha512_crypt_b64(password, salt.as_bytes(), &params));
            computed.is_ok_and(|computed| equal(&computed, digest))
        }
    }
}

/// The MD5 hash of crypt(3), which Apache took over with a magic of its own: one digest over password and salt, then a
/// thousand more, each over the one before it and parts of both.
fn md5_crypt(password: &[u8], magic: &str, salt: &str) -> String {
    let salt = salt.as_bytes();
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        let part = left.min(inner.len());
        outer.update(&inner[..part]);
        left -= part;
    }
    let mut bits = password.len();
    while bits > 0 {
        // The first byte of the password, or a zero, for each bit of its length.
        outer.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut text = String::with_capacity(22);
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let group = u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]);
        push_crypt(&mut text, group, 4);
    }
    push_crypt(&mut text, digest[11].into(), 2);
    text
}

/// Six bits a character, the lowest first.
fn push_crypt(text: &mut String, mut bits: u32, characters: usize) {
    for _ in 0..characters {
        text.push(char::from(ALPHABET[(bits & 0x3f) as usize]));
        bits >>= 6;
    }
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that crypt(3) and openssl made.
    #[test]
    fn a_password_fits_its_own_hash_of_every_kind_and_no_other() {
        let long = "a password that is longer than sixteen bytes";
        for (password, hash) in [
            ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            ("secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
            (long, "$apr1$x$lWAXPPpTNwmkWhArt/zPh0"),
            ("secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
            ("", "$1$x$fwjfZtMwarkdetsjiQreU1"),
            (long, "$1$salt$ve0X0vl/y42n.jYtAbOBx0"),
            ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
            ("secret", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
            ("secret", "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"),
            ("secret", "$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1"),
            (
                "secret",
                "$6$rounds=1400$anotherlongsalt1$7MaCGrd4kOKhnCscR2by03i9IXE.i85UNEusCBP0nh6nWKHJBI7EoY/NvBgJL.Z.\
                 Qx9GHMY8XN53Y2V80Hmo/.",
            ),
        ] {
            let parsed = PasswordHash::parse(hash).unwrap();
            assert!(fits(password.as_bytes(), &parsed), "{hash}");
            for wrong in ["Secret", "secret ", "x", hash] {
                assert!(!fits(wrong.as_bytes(), &parsed), "{hash} {wrong}");
            }
            assert_eq!(PasswordHash::parse(&parsed.to_text()), Ok(parsed), "{hash}");
        }
    }
}
