//! Whether the kernel encrypts with instructions of the processor: what it tells of its ciphers (`/proc/crypto`) flows in, for each
//! cipher a verdict flows out. Pure. By portable code it takes many times as long as the proxy, which always uses such instructions.

use super::keys::Cipher;

/// Whether the implementation that the kernel prefers is a fast one. One that it does not tell of counts as none.
pub(super) fn is_fast(told: &str, cipher: Cipher) -> bool {
    let name = match cipher {
        Cipher::Aes128Gcm | Cipher::Aes256Gcm => "gcm(aes)",
        Cipher::Chacha20Poly1305 => "rfc7539(chacha20,poly1305)",
    };
    let preferred = told
        .split("\n\n")
        .filter(|entry| field(entry, "name") == Some(name) && field(entry, "internal") != Some("yes"))
        .max_by_key(|entry| field(entry, "priority").and_then(|priority| priority.parse::<i64>().ok()));
    let driver = preferred.and_then(|entry| field(entry, "driver"));
    driver.is_some_and(|driver| !PORTABLE.iter().any(|part| driver.contains(part)))
}

fn field<'e>(entry: &'e str, name: &str) -> Option<&'e str> {
    let mut fields = entry.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
}

/// What is in the name of an implementation of which at least a part is portable code.
const PORTABLE: [&str; 5] = ["aes-generic", "aes-fixed-time", "ghash-generic", "chacha20-generic", "poly1305-generic"];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, driver: &str, priority: i32, internal: &str) -> String {
        format!(
            "name         : {name}\ndriver       : {driver}\nmodule       : kernel\npriority     : {priority}\nrefcnt       : 2\n\
             selftest     : passed\ninternal     : {internal}\ntype         : aead\n\n"
        )
    }

    #[test]
    fn what_the_kernel_prefers_counts() {
        let portable = entry("gcm(aes)", "gcm_base(ctr(aes-generic),ghash-generic)", 100, "no");
        let fast = entry("gcm(aes)", "generic-gcm-aesni", 400, "no");
        let half = entry("gcm(aes)", "gcm_base(ctr-aes-aesni,ghash-generic)", 300, "no");
        let inner = entry("gcm(aes)", "__generic-gcm-aesni", 900, "yes");
        assert!(!is_fast(&portable, Cipher::Aes128Gcm));
        assert!(is_fast(&format!("{portable}{fast}"), Cipher::Aes256Gcm));
        assert!(is_fast(&format!("{fast}{half}{portable}"), Cipher::Aes128Gcm));
        assert!(!is_fast(&format!("{portable}{half}"), Cipher::Aes128Gcm));
        assert!(!is_fast(&format!("{portable}{inner}"), Cipher::Aes128Gcm));
    }

    #[test]
    fn each_cipher_is_judged_by_its_own_implementation() {
        let name = "rfc7539(chacha20,poly1305)";
        let fast = entry(name, "rfc7539(chacha20-simd,poly1305-simd)", 300, "no");
        let portable = entry(name, "rfc7539(chacha20-generic,poly1305-simd)", 100, "no");
        assert!(is_fast(&fast, Cipher::Chacha20Poly1305));
        assert!(!is_fast(&portable, Cipher::Chacha20Poly1305));
        assert!(!is_fast(&fast, Cipher::Aes128Gcm));
        assert!(!is_fast("", Cipher::Chacha20Poly1305));
    }
}
