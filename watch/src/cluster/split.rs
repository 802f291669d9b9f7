//! Splits what the API server sends before anything is decoded: bytes of a list flow in as they arrive, each item's own JSON
//! flows out at once, so that neither a page nor a tree of it is ever held whole; and the parts of one watch event.
//! `request` calls it.

use crate::limits::{ENVELOPE_BYTES, ITEM_BYTES};

/// A list in parts. Whether it is JSON at all shows when its items and its envelope are read.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Everything but the items: `{"metadata":{...},"items":[]}`.
    envelope: Vec<u8>,
    item: Vec<u8>,
    /// Open braces and brackets.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last string of the outermost object, and whether a colon came after it.
    name: Vec<u8>,
    named: bool,
    /// Whether the array of items is open.
    in_items: bool,
}

/// An item or an envelope beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Items {
    /// Takes the next bytes, and gives each item that ends in them.
    pub(super) fn push(&mut self, bytes: &[u8], mut item: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        for &byte in bytes {
            if !self.in_items {
                self.enclose(byte);
            } else if self.takes(byte) {
                item(&self.item);
                self.item.clear();
            }
        }
        let too_large = self.item.len() > ITEM_BYTES || self.envelope.len() > ENVELOPE_BYTES;
        if too_large { Err(TooLarge) } else { Ok(()) }
    }

    /// What was around the items.
    pub(super) fn into_envelope(self) -> Vec<u8> {
        self.envelope
    }

    /// A byte outside the items.
    fn enclose(&mut self, byte: u8) {
        self.envelope.push(byte);
        if self.in_string {
            self.string(byte);
            if self.in_string && self.depth == 1 && !self.named {
                self.name.push(byte);
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if !self.named {
                    self.name.clear();
                }
            }
            b'[' if self.depth == 1 && self.named && self.name == b"items" => {
                self.depth += 1;
                self.in_items = true;
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => self.named = true,
            b',' if self.depth == 1 => self.named = false,
            _ => {}
        }
    }

    /// A byte among the items; whether it ends one.
    fn takes(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.item.push(byte);
            self.string(byte);
            return false;
        }
        match byte {
            b']' if self.depth == 2 => {
                self.in_items = false;
                self.depth = 1;
                self.envelope.push(byte);
                return !self.item.is_empty();
            }
            b',' if self.depth == 2 => return !self.item.is_empty(),
            b' ' | b'\t' | b'\r' | b'\n' if self.depth == 2 => return false,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.item.push(byte);
        false
    }

    fn string(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }
}

/// The type of a watch event and its object's own JSON; `None` for what is no event.
pub(super) fn event(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut kind, mut object) = (None, None);
    let mut at = expect(line, 0, b'{')?;
    loop {
        let start = expect(line, at, b'"')?;
        let end = value(line, start - 1)?;
        let name = &line[start..end - 1];
        let from = skip_space(line, expect(line, end, b':')?);
        let to = value(line, from)?;
        match name {
            b"type" => kind = line.get(from + 1..to - 1),
            b"object" => object = Some(&line[from..to]),
            _ => {}
        }
        at = skip_space(line, to);
        match line.get(at)? {
            b',' => at += 1,
            b'}' => return Some((kind?, object?)),
            _ => return None,
        }
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The place after `byte`, which is the next that is no space.
fn expect(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = skip_space(text, at);
    (*text.get(at)? == byte).then_some(at + 1)
}

/// The place after the value that begins here.
fn value(text: &[u8], from: usize) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, &byte) in text.get(from..)?.iter().enumerate() {
        let at = from + offset;
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return Some(if depth == 1 { at + 1 } else { at }).filter(|end| *end > from),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return Some(at).filter(|end| *end > from),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[ -~äß\\\\\"\n{}\\[\\],:]{0,12}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
            Just(Value::from("items")),
        ];
        leaf.prop_recursive(3, 24, 5, move |inner| {
            let name = prop_oneof![text, Just("items".to_owned()), Just("metadata".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn items_and_envelope_are_those_of_the_whole_text(
            items in prop::collection::vec(any_json(), 0..6),
            before in any_json(),
            after in any_json(),
            pretty in any::<bool>(),
            size in 1_usize..40,
        ) {
            // serde_json sorts names, so this makes members before and after.
            let list = json!({"a": before, "items": items, "z": after, "metadata": {"resourceVersion": "7"}});
            let text = if pretty { format!("{list:#}") } else { list.to_string() };
            let (mut split, mut found) = (Items::default(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                split.push(chunk, |item| found.push(serde_json::from_slice::<Value>(item).unwrap())).unwrap();
            }
            prop_assert_eq!(&found, list["items"].as_array().unwrap());
            let envelope: Value = serde_json::from_slice(&split.into_envelope()).unwrap();
            let mut wanted = list.clone();
            wanted["items"] = json!([]);
            prop_assert_eq!(envelope, wanted);
        }

        #[test]
        fn a_list_that_is_cut_has_no_whole_envelope(items in prop::collection::vec(any_json(), 0..4), cut in 1_usize..50) {
            let text = json!({"items": items, "metadata": {}}).to_string();
            let text = &text.as_bytes()[..text.len().saturating_sub(cut)];
            let mut split = Items::default();
            split.push(text, |_| {}).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&split.into_envelope()).is_err());
        }

        #[test]
        fn an_event_is_its_type_and_its_object(object in any_json(), other in any_json(), pretty in any::<bool>()) {
            let whole = json!({"type": "ADDED", "object": object, "other": other});
            let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
            let (kind, found) = event(text.as_bytes()).unwrap();
            prop_assert_eq!(kind, b"ADDED");
            prop_assert_eq!(serde_json::from_slice::<Value>(found).unwrap(), object);
        }

        #[test]
        fn what_is_no_event_is_none_and_no_panic(text in "[ -~]{0,40}") {
            if serde_json::from_str::<Value>(&text).is_err() {
                let _ = event(text.as_bytes());
            }
        }
    }

    /// What a list costs while it is read: one object and what is kept, however long it is.
    #[test]
    fn no_more_than_one_item_is_held() {
        let pod = json!({"metadata": {"name": "a", "managedFields": [{"fieldsV1": "x".repeat(8000)}]}}).to_string();
        let text = format!("{{\"metadata\":{{}},\"items\":[{}]}}", vec![pod; 500].join(","));
        let (mut split, mut count) = (Items::default(), 0);
        for chunk in text.as_bytes().chunks(16 * 1024) {
            split.push(chunk, |_| count += 1).unwrap();
        }
        assert!(text.len() > 4_000_000 && split.item.capacity() < 20_000 && split.envelope.len() < 100);
        assert_eq!(count, 500);
    }

    #[test]
    fn go_writes_null_for_no_items() {
        let mut split = Items::default();
        split.push(br#"{"items":null,"metadata":{}}"#, |_| panic!("there is none")).unwrap();
        assert!(serde_json::from_slice::<Value>(&split.into_envelope()).is_ok());
    }
}
