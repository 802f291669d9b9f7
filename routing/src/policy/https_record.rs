//! Whether DNS tells clients how a host speaks: an annotation flows in, the HTTPS record (RFC 9460) to publish beside the
//! addresses flows out. Only the protocols that the proxies speak can be named.

use crate::annotation::{Annotations, Spelling};

/// What the HTTPS record of a host says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsRecord {
    /// The protocols in the order in which they are written (RFC 9460 §7.1), each once; never none.
    protocols: Vec<&'static str>,
}

impl HttpsRecord {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        annotations.first(&[Spelling { name: NAME, parse }]).flatten()
    }

    /// The record's data in presentation form (RFC 9460 §2.1): the host itself, with these protocols.
    pub fn target(&self) -> String {
        format!("1 . alpn=\"{}\"", self.protocols.join(","))
    }
}

fn parse(text: &str) -> Result<Option<HttpsRecord>, String> {
    match text.trim() {
        "off" => return Ok(None),
        "auto" => return Ok(Some(HttpsRecord { protocols: OFFERED.into() })),
        _ => {}
    }
    let mut protocols = Vec::new();
    for word in text.split(',').map(str::trim) {
        let offered = OFFERED.iter().find(|offered| **offered == word);
        let Some(offered) = offered else {
            return Err(format!("is not auto, off, or a list of {}", OFFERED.join(" and ")));
        };
        if !protocols.contains(offered) {
            protocols.push(*offered);
        }
    }
    Ok(Some(HttpsRecord { protocols }))
}

/// For the claims, which know where TLS ends.
pub(crate) const NAME: &str = "nearside.dev/https-record";
/// What the proxies speak over TLS, best first.
const OFFERED: [&str; 2] = ["h2", "http/1.1"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn only_what_the_proxies_speak_can_be_promised() {
        let target = |text| read(&[(NAME, text)], HttpsRecord::read).map(|record| record.target());
        assert_eq!(target("auto").as_deref(), Some("1 . alpn=\"h2,http/1.1\""));
        assert_eq!(target("http/1.1, h2,http/1.1").as_deref(), Some("1 . alpn=\"http/1.1,h2\""));
        for text in ["off", "h3", "h2,", "", "h2 http/1.1", "\"h2\""] {
            assert_eq!(target(text), None, "{text}");
            let count = usize::from(text != "off");
            assert_eq!(problems(&[(NAME, text)], HttpsRecord::read).len(), count, "{text}");
        }
        assert_eq!(read(&[], HttpsRecord::read), None);
    }
}
