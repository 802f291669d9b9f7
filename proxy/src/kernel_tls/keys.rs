//! Keys as the kernel takes them: those of a session flow in, with the number of the next record; what a socket is told flows out.
//! Pure. Called by `kernel_tls`.

use nix::libc;
use nix::sys::socket::sockopt::TlsCryptoInfo;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use std::fmt;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// What encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

/// Both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) version: Version,
    pub(super) cipher: Cipher,
}

impl Suite {
    /// All that the proxy agrees to.
    pub(super) const ALL: [Self; 6] = [
        Self { version: Version::Tls13, cipher: Cipher::Aes128Gcm },
        Self { version: Version::Tls13, cipher: Cipher::Aes256Gcm },
        Self { version: Version::Tls13, cipher: Cipher::Chacha20Poly1305 },
        Self { version: Version::Tls12, cipher: Cipher::Aes128Gcm },
        Self { version: Version::Tls12, cipher: Cipher::Aes256Gcm },
        Self { version: Version::Tls12, cipher: Cipher::Chacha20Poly1305 },
    ];

    /// That of a session; nothing before it is agreed on, and of suites that the kernel knows nothing of.
    pub(super) fn of(session: &ServerConnection) -> Option<Self> {
        let version = match session.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            _ => return None,
        };
        let cipher = match session.negotiated_cipher_suite()?.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Cipher::Aes128Gcm,
            CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Cipher::Aes256Gcm,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Cipher::Chacha20Poly1305,
            _ => return None,
        };
        Some(Self { version, cipher })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.version, self.cipher)
    }
}

/// The keys of one direction.
#[derive(Clone, Copy)]
pub(super) struct Keys<'k> {
    pub(super) suite: Suite,
    /// The number of the next record.
    pub(super) sequence: u64,
    pub(super) key: &'k [u8],
    /// What makes a nonce of that number, 12 bytes.
    pub(super) iv: &'k [u8],
}

impl Keys<'_> {
    /// For records that go out. `None` where the lengths are not those of the cipher.
    pub(super) fn for_sending(&self) -> Option<TlsCryptoInfo> {
        let mut iv: [u8; 12] = self.iv.try_into().ok()?;
        if self.suite.version == Version::Tls12 && self.suite.cipher != Cipher::Chacha20Poly1305 {
            // A record says its nonce itself (RFC 5288 §3). rustls counts by XOR from here, the kernel by addition; none of its
            // nonces may ever come again, so the kernel begins as far away as can be.
            iv[SALT] ^= 0x80;
        }
        self.told(iv)
    }

    /// For records that come in.
    pub(super) fn for_receiving(&self) -> Option<TlsCryptoInfo> {
        self.told(self.iv.try_into().ok()?)
    }

    fn told(&self, iv: [u8; 12]) -> Option<TlsCryptoInfo> {
        let version = match self.suite.version {
            Version::Tls12 => libc::TLS_1_2_VERSION,
            Version::Tls13 => libc::TLS_1_3_VERSION,
        };
        let info = |cipher_type| libc::tls_crypto_info { version, cipher_type };
        let (salt, rest) = iv.split_at(SALT);
        let rec_seq = self.sequence.to_be_bytes();
        Some(match self.suite.cipher {
            Cipher::Aes128Gcm => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
                info: info(libc::TLS_CIPHER_AES_GCM_128),
                iv: rest.try_into().ok()?,
                key: self.key.try_into().ok()?,
                salt: salt.try_into().ok()?,
                rec_seq,
            }),
            Cipher::Aes256Gcm => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
                info: info(libc::TLS_CIPHER_AES_GCM_256),
                iv: rest.try_into().ok()?,
                key: self.key.try_into().ok()?,
                salt: salt.try_into().ok()?,
                rec_seq,
            }),
            Cipher::Chacha20Poly1305 => TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                info: info(libc::TLS_CIPHER_CHACHA20_POLY1305),
                iv,
                key: self.key.try_into().ok()?,
                salt: [],
                rec_seq,
            }),
        })
    }
}

/// Bytes at the beginning of the nonce of GCM that are the same for all records.
const SALT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn keys(suite: Suite, sequence: u64, iv: &[u8; 12]) -> Keys<'_> {
        let key = if suite.cipher == Cipher::Aes128Gcm { &KEY[..16] } else { &KEY };
        Keys { suite, sequence, key, iv }
    }

    /// Version, cipher, the nonce that the kernel begins with, and the number of the record.
    fn read(told: &TlsCryptoInfo) -> (u16, u16, [u8; 12], [u8; 8]) {
        let joined = |salt: &[u8], iv: &[u8]| [salt, iv].concat().try_into().unwrap();
        match told {
            TlsCryptoInfo::Aes128Gcm(told) => {
                assert_eq!(told.key, KEY[..16]);
                (told.info.version, told.info.cipher_type, joined(&told.salt, &told.iv), told.rec_seq)
            }
            TlsCryptoInfo::Aes256Gcm(told) => {
                assert_eq!(told.key, KEY);
                (told.info.version, told.info.cipher_type, joined(&told.salt, &told.iv), told.rec_seq)
            }
            TlsCryptoInfo::Chacha20Poly1305(told) => {
                assert_eq!(told.key, KEY);
                (told.info.version, told.info.cipher_type, told.iv, told.rec_seq)
            }
        }
    }

    #[test]
    fn the_kernel_goes_on_with_the_next_record_of_the_same_keys() {
        let iv = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        for (suite, version, cipher) in [
            (Suite::ALL[0], 0x0304, 51),
            (Suite::ALL[1], 0x0304, 52),
            (Suite::ALL[2], 0x0304, 54),
            (Suite::ALL[3], 0x0303, 51),
            (Suite::ALL[4], 0x0303, 52),
            (Suite::ALL[5], 0x0303, 54),
        ] {
            let number = [0, 0, 0, 0, 0, 0, 2, 1];
            let keys = keys(suite, 0x201, &iv);
            assert_eq!(read(&keys.for_receiving().unwrap()), (version, cipher, iv, number), "{suite}");
            let (_, _, sending, told) = read(&keys.for_sending().unwrap());
            let says_its_nonce = suite.version == Version::Tls12 && cipher != 54;
            assert_eq!((told, sending == iv), (number, !says_its_nonce), "{suite}");
        }
    }

    #[test]
    fn lengths_that_are_not_those_of_the_cipher_make_no_keys() {
        let suite = Suite::ALL[0];
        assert!(Keys { suite, sequence: 0, key: &KEY, iv: &[0; 12] }.for_sending().is_none());
        assert!(Keys { suite, sequence: 0, key: &KEY[..16], iv: &[0; 8] }.for_receiving().is_none());
    }

    proptest! {
        /// With TLS 1.2 and GCM, whatever rustls has sent and the kernel sends.
        #[test]
        fn no_nonce_of_the_process_comes_again_from_the_kernel(
            begin in prop_oneof![any::<u64>(), (0_u64..1 << 20).prop_map(|less| u64::MAX / 2 - less), Just(u64::MAX)],
            sent in 0_u64..1 << 40,
            further in 0_u64..1 << 40,
        ) {
            let mut iv = [0; 12];
            iv[SALT..].copy_from_slice(&begin.to_be_bytes());
            let (_, _, first, _) = read(&keys(Suite::ALL[3], 1 << 40, &iv).for_sending().unwrap());
            let first = u64::from_be_bytes(first[SALT..].try_into().unwrap());
            let nonce = first.wrapping_add(further);
            // The number that rustls would have had to give to a record for the same nonce.
            prop_assert!(nonce ^ begin >= 1 << 40);
            prop_assert_ne!(begin ^ sent, nonce);
        }
    }
}
