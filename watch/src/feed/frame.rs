//! What is said at the socket of a feed: values flow in, bytes flow out, and back. A frame is the length of a JSON text and that of an
//! object (four octets each, big-endian), the text, which says what it is, and the object, as JSON. Bounded: a longer one ends the
//! connection.

use crate::limits::{FEED_TEXT_BYTES, ITEM_BYTES};
use crate::state::Counts;
use crate::{Kind, ObjectKey, Selection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is said first by whoever wants objects. Another version is refused.
pub(super) const VERSION: u32 = 1;

/// From whoever reads the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Said {
    /// The selections are read from now on.
    Welcome,
    /// They are not.
    Refused { why: String },
    /// The object of the frame is new or has changed.
    Applied { selection: usize },
    /// An object is gone.
    Deleted { selection: usize, object: Name },
    /// The object of the frame is one of a list that is still to end.
    Listed { selection: usize },
    /// The list is complete. `kept` exist and could not be decoded; `second` says that it confirms another.
    ListEnded { selection: usize, kept: Vec<Name>, second: bool },
    /// The cluster cannot be asked. `unknown` says that there may be objects all the same.
    StandsIn { selection: usize, unknown: bool },
    /// What a watch is up to.
    State { selection: usize, state: WatchState },
    /// Whether the user of a token may read metrics; `None` where the cluster does not know it.
    Reviewed { may: Option<bool> },
    /// The cluster cannot be asked about a token.
    NotReviewed { why: String },
}

/// From whoever wants objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Wanted {
    /// These selections, in this order.
    Hello { version: u32, selections: Vec<Described> },
    /// This Secret as well, under the number of a selection that is not in use.
    Follow { selection: usize, secret: Name },
    /// That selection no longer.
    Leave { selection: usize },
    /// The list was taken in, and so many objects are held that it lacks.
    TookList { selection: usize, held: usize },
    /// What the cluster says of a token.
    Review { token: String },
}

/// An object of the kind of its selection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Name {
    pub(super) fn of(key: &ObjectKey) -> Self {
        Self { namespace: key.namespace.to_string(), name: key.name.to_string() }
    }

    pub(super) fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey::new(kind, &self.namespace, &self.name)
    }
}

/// A selection in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Described {
    api_version: String,
    kind: String,
    fields: Option<String>,
    labels: Option<String>,
    namespace: Option<String>,
}

impl Described {
    pub(super) fn new(selection: &Selection) -> Self {
        Self {
            api_version: selection.kind.api_version(),
            kind: selection.kind.name().to_owned(),
            fields: selection.fields.clone(),
            labels: selection.labels.clone(),
            namespace: selection.namespace.clone(),
        }
    }
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind)?;
        let parts = [("namespace", &self.namespace), ("fields", &self.fields), ("labels", &self.labels)];
        for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            write!(f, ", {name} {value}")?;
        }
        Ok(())
    }
}

/// What is known of a watch beside its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WatchState {
    pub(crate) reason: Option<String>,
    pub(crate) error: Option<String>,
    /// How long ago the API server was heard.
    pub(crate) heard_milliseconds_ago: Option<u64>,
    pub(crate) counts: Counts,
}

/// One frame.
pub(super) fn encode(text: &impl Serialize, object: &[u8]) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(text)?;
    if text.len() > FEED_TEXT_BYTES || object.len() > ITEM_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more than a frame may hold"));
    }
    let mut frame = Vec::with_capacity(LENGTHS + text.len() + object.len());
    // Both are far below 4 GiB by the limits above.
    frame.extend_from_slice(&(text.len() as u32).to_be_bytes());
    frame.extend_from_slice(&(object.len() as u32).to_be_bytes());
    frame.extend_from_slice(&text);
    frame.extend_from_slice(object);
    Ok(frame)
}

/// Waits for a frame. Not safe to cancel.
///
/// # Errors
/// The connection ended, or something else came.
pub(super) async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(T, Vec<u8>)> {
    let (text, object) = (stream.read_u32().await? as usize, stream.read_u32().await? as usize);
    if text > FEED_TEXT_BYTES || object > ITEM_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut bytes = vec![0; text + object];
    stream.read_exact(&mut bytes).await?;
    let object = bytes.split_off(text);
    Ok((serde_json::from_slice(&bytes)?, object))
}

const LENGTHS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    async fn decoded<T: DeserializeOwned>(mut bytes: &[u8]) -> io::Result<(T, Vec<u8>)> {
        read(&mut bytes).await
    }

    #[tokio::test]
    async fn what_is_said_is_what_is_heard() {
        let name = || Name { namespace: "shop".into(), name: "web".into() };
        let state = WatchState {
            reason: Some("Forbidden".into()),
            error: Some("no permission".into()),
            heard_milliseconds_ago: Some(7),
            counts: Counts { events: 3, relists: [("resync".into(), 2)].into(), ..Counts::default() },
        };
        let said = [
            Said::Welcome,
            Said::Refused { why: "other".into() },
            Said::Applied { selection: 1 },
            Said::Deleted { selection: 2, object: name() },
            Said::Listed { selection: 3 },
            Said::ListEnded { selection: 4, kept: vec![name()], second: true },
            Said::StandsIn { selection: 5, unknown: false },
            Said::State { selection: 6, state },
        ];
        for said in said {
            let frame = encode(&said, b"{}").unwrap();
            assert_eq!(decoded::<Said>(&frame).await.unwrap(), (said, b"{}".to_vec()));
            for length in 0..frame.len() {
                assert!(decoded::<Said>(&frame[..length]).await.is_err(), "a part is no frame");
            }
        }
        let hello = Wanted::Hello { version: VERSION, selections: vec![Described::new(&Selection::all(Kind::Pod))] };
        for wanted in
            [hello, Wanted::Follow { selection: 9, secret: name() }, Wanted::TookList { selection: 1, held: 2 }]
        {
            assert_eq!(decoded::<Wanted>(&encode(&wanted, b"").unwrap()).await.unwrap().0, wanted);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_frame_is_refused_before_it_takes_memory() {
        let long = |text: u32, object: u32| [text.to_be_bytes(), object.to_be_bytes()].concat();
        for frame in [long(u32::MAX, 0), long(2, u32::MAX), long(FEED_TEXT_BYTES as u32 + 1, 0)] {
            assert_eq!(decoded::<Said>(&frame).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(decoded::<Said>(&[long(4, 0), b"junk".to_vec()].concat()).await.is_err());
        assert!(encode(&Said::Welcome, &vec![b' '; ITEM_BYTES + 1]).is_err());
    }
}
