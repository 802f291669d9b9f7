//! PEM (RFC 7468) as people paste it: text flows in, its blocks in DER flow out, or the block that is at fault. Text between
//! blocks and `EC PARAMETERS`, which some tools write before a key, are dropped; a block that nobody here reads is refused,
//! because its author meant something by it.

use base64::Engine;

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A certificate.
    Certificate(Vec<u8>),
    /// A private key, whatever its label says of the kind.
    PrivateKey(Vec<u8>),
    /// A public key, which adds nothing to a certificate.
    PublicKey,
}

/// The blocks of a text, in order.
///
/// # Errors
/// What is wrong with the first block that cannot be read.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = marked(line, BEGIN) else { continue };
        let shown = String::from_utf8_lossy(label).chars().take(LABEL).collect::<String>();
        let mut body = Vec::new();
        let mut ended = false;
        for line in lines.by_ref() {
            if marked(line, END).is_some_and(|end| end == label) {
                ended = true;
                break;
            }
            if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") {
                return Err(format!("the block {shown} is encrypted"));
            }
            // Header fields of the old form (RFC 1421 §4.6) are no base64.
            if !line.contains(&b':') {
                body.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            }
        }
        if !ended {
            return Err(format!("the block {shown} has no end"));
        }
        let der = base64::engine::general_purpose::STANDARD.decode(&body);
        let der = der.map_err(|error| format!("the block {shown} is not base64: {error}"))?;
        match label {
            b"CERTIFICATE" => blocks.push(Block::Certificate(der)),
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" | b"ECDSA PRIVATE KEY" => {
                blocks.push(Block::PrivateKey(der));
            }
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" | b"DSA PUBLIC KEY" | b"ECDSA PUBLIC KEY" => {
                blocks.push(Block::PublicKey);
            }
            b"EC PARAMETERS" => {}
            _ => return Err(format!("a block {shown} has no place here")),
        }
    }
    Ok(blocks)
}

/// The label of a line that begins or ends a block.
fn marked<'l>(line: &'l [u8], mark: &[u8]) -> Option<&'l [u8]> {
    line.strip_prefix(mark)?.strip_suffix(DASHES)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Characters of a label that a message repeats.
const LABEL: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn text_around_blocks_and_parameters_are_dropped() {
        let text = format!(
            "subject=CN = web\r\n{}note\n{}{}",
            block("CERTIFICATE", "AQID\r\n BA==").replace('\n', "\r\n"),
            block("EC PARAMETERS", "AQ=="),
            block("EC PRIVATE KEY", "Comment: mine\n\nBQY=")
        );
        assert_eq!(
            blocks(text.as_bytes()),
            Ok(vec![Block::Certificate(vec![1, 2, 3, 4]), Block::PrivateKey(vec![5, 6])])
        );
        assert_eq!(blocks(b"nothing \xff here"), Ok(vec![]));
    }

    #[test]
    fn a_block_that_cannot_be_used_is_refused_by_its_label() {
        let cases = [
            (block("X509 CRL", "AQ=="), "a block X509 CRL has no place here"),
            (block("ENCRYPTED PRIVATE KEY", "AQ=="), "a block ENCRYPTED PRIVATE KEY has no place here"),
            (block("CERTIFICATE", "?"), "the block CERTIFICATE is not base64"),
            ("-----BEGIN CERTIFICATE-----\nAQ==\n".to_owned(), "the block CERTIFICATE has no end"),
            ("-----BEGIN CERTIFICATE-----\nAQ==\n-----END OTHER-----".to_owned(), "has no end"),
            (block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAQ=="), "the block RSA PRIVATE KEY is encrypted"),
        ];
        for (text, expected) in cases {
            let error = blocks(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_as_pem_is_read_again(der in proptest::collection::vec(any::<u8>(), 1..200)) {
            let body = base64::engine::general_purpose::STANDARD.encode(&der);
            let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            prop_assert_eq!(blocks(block("CERTIFICATE", &lines.join("\n")).as_bytes()), Ok(vec![Block::Certificate(der)]));
        }

        #[test]
        fn any_text_gives_an_answer(text in "(-----(BEGIN|END) [A-Z ]{0,8}-----\n|[A-Za-z0-9+/=:\n ]{0,20}|\\PC{0,20}){0,12}") {
            let _ = blocks(text.as_bytes());
        }
    }
}
