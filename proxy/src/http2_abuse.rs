//! Abuse of HTTP/2 that its library lets pass: the bytes of one client connection flow in, both ways, as they pass by; what its client
//! does too often flows out. Looks at the heads of frames alone. What is ordinary costs nothing: each kind of frame is forgiven with
//! time, and with what the proxy answers. Pure: the time is told. Used by `accept::http2_stream`.
//!
//! The library itself ends connections for too many CONTINUATION frames, small DATA frames and streams that it has to reset, and for
//! fields beyond its list. Refused streams are its business, too.

mod frames;

use crate::limits::{
    H2_ABUSE_EMPTY, H2_ABUSE_PING, H2_ABUSE_PRIORITY, H2_ABUSE_PROVOKED, H2_ABUSE_RESET, H2_ABUSE_SETTINGS,
    H2_ABUSE_UNKNOWN, H2_ABUSE_WINDOW, H2_YOUNG_STREAM,
};
use frames::{FrameHead, Frames};
use std::time::Duration;

/// What a client does too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// It resets streams that it has just begun ("rapid reset").
    Reset,
    /// It makes the proxy reset streams ("made you reset").
    ProvokedReset,
    /// PING frames.
    Ping,
    /// SETTINGS frames.
    Settings,
    /// Frames without content that end nothing.
    Empty,
    /// PRIORITY and PRIORITY_UPDATE frames.
    Priority,
    /// WINDOW_UPDATE frames.
    WindowUpdate,
    /// Frames that mean nothing here.
    Unknown,
    /// Not too often but too slowly: a header.
    SlowHeader,
}

/// How much of something is forgiven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// At once.
    pub(crate) burst: u16,
    /// From then on, each second.
    pub(crate) per_second: u16,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conduct {
    incoming: Frames,
    outgoing: Frames,
    spent: [f32; COUNTED.len()],
    /// When that was so.
    as_of: Duration,
    /// The highest stream that the client has begun.
    highest: u32,
    /// The same at two earlier times, the second one long enough ago.
    marks: [(Duration, u32); 2],
    /// The last frame was of a header.
    of_header: bool,
    /// And another one is to follow it.
    unfinished: bool,
}

impl Conduct {
    /// Of a connection before its first byte, which is the preface (RFC 9113 §3.4).
    pub(crate) fn new() -> Self {
        Self {
            incoming: Frames::after(PREFACE),
            outgoing: Frames::after(0),
            spent: [0.0; COUNTED.len()],
            as_of: Duration::ZERO,
            highest: 0,
            marks: [(Duration::ZERO, 0); 2],
            of_header: false,
            unfinished: false,
        }
    }

    /// Bytes came from the client. `now` is the time since the connection began.
    pub(crate) fn received(&mut self, bytes: &[u8], now: Duration) -> Option<Abuse> {
        self.pass(now);
        let mut found = None;
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.read(bytes, |frame| found = found.or_else(|| self.judge(frame)));
        self.incoming = incoming;
        found
    }

    /// Bytes left for the client.
    pub(crate) fn sent(&mut self, bytes: &[u8], now: Duration) -> Option<Abuse> {
        let mut found = None;
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.read(bytes, |frame| match frame.kind {
            DATA if frame.length > 0 => {
                // Each part of an answer may be acknowledged, for both windows, and measured.
                self.forgive(Abuse::WindowUpdate, 2.0);
                self.forgive(Abuse::Ping, 1.0);
            }
            HEADERS => self.forgive(Abuse::Reset, 1.0),
            RST_STREAM if PROVOKED.contains(&frame.code) => {
                self.pass(now);
                found = found.or_else(|| self.count(Abuse::ProvokedReset));
            }
            _ => {}
        });
        self.outgoing = outgoing;
        found
    }

    /// Whether nothing is left to be sent of the last frame, so that another one could follow.
    pub(crate) fn may_send_frame(&self) -> bool {
        self.outgoing.is_between_frames()
    }

    /// Whether a header has begun and not ended.
    pub(crate) fn is_in_header(&self) -> bool {
        self.unfinished || self.of_header && !self.incoming.is_between_frames()
    }

    /// The highest stream that the client has begun.
    pub(crate) fn last_stream(&self) -> u32 {
        self.highest
    }

    fn judge(&mut self, frame: FrameHead) -> Option<Abuse> {
        self.of_header = matches!(frame.kind, HEADERS | CONTINUATION);
        if self.of_header {
            self.unfinished = frame.flags & END_HEADERS == 0;
        }
        let empty = frame.length == 0;
        match frame.kind {
            HEADERS => {
                self.highest = self.highest.max(frame.stream);
                if empty { self.count(Abuse::Empty) } else { None }
            }
            DATA if empty && frame.flags & END_STREAM == 0 => self.count(Abuse::Empty),
            CONTINUATION if empty => self.count(Abuse::Empty),
            DATA | CONTINUATION => None,
            PRIORITY | PRIORITY_UPDATE => self.count(Abuse::Priority),
            RST_STREAM if frame.stream <= self.marks[1].1 => None,
            RST_STREAM => self.count(Abuse::Reset),
            SETTINGS => self.count(Abuse::Settings),
            PING => self.count(Abuse::Ping),
            WINDOW_UPDATE => self.count(Abuse::WindowUpdate),
            _ => self.count(Abuse::Unknown),
        }
    }

    fn count(&mut self, abuse: Abuse) -> Option<Abuse> {
        let (spent, allowance) = self.account(abuse)?;
        *spent += 1.0;
        (*spent > f32::from(allowance.burst)).then_some(abuse)
    }

    /// Also what is to come yet.
    fn forgive(&mut self, abuse: Abuse, much: f32) {
        if let Some((spent, allowance)) = self.account(abuse) {
            *spent = (*spent - much).max(-f32::from(allowance.burst));
        }
    }

    fn account(&mut self, abuse: Abuse) -> Option<(&mut f32, Allowance)> {
        let at = COUNTED.iter().position(|(counted, _)| *counted == abuse)?;
        Some((self.spent.get_mut(at)?, COUNTED[at].1))
    }

    /// Time has passed.
    fn pass(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.as_of).as_secs_f32();
        self.as_of = self.as_of.max(now);
        for (spent, (_, allowance)) in self.spent.iter_mut().zip(COUNTED) {
            if *spent > 0.0 {
                *spent = (*spent - seconds * f32::from(allowance.per_second)).max(0.0);
            }
        }
        let since = now.saturating_sub(self.marks[0].0);
        if since >= H2_YOUNG_STREAM {
            // Where nothing came for that long the last mark was followed by nothing younger.
            let present = (now, self.highest);
            let old = if since >= H2_YOUNG_STREAM * 2 { present } else { self.marks[0] };
            self.marks = [present, old];
        }
    }
}

impl Abuse {
    /// For the metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::ProvokedReset => "provoked_reset",
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::Empty => "empty",
            Self::Priority => "priority",
            Self::WindowUpdate => "window_update",
            Self::Unknown => "unknown",
            Self::SlowHeader => "slow_header",
        }
    }
}

/// GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §6.8).
pub(crate) fn goaway(last_stream: u32) -> [u8; 17] {
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, ENHANCE_YOUR_CALM]
}

const COUNTED: [(Abuse, Allowance); 8] = [
    (Abuse::Reset, H2_ABUSE_RESET),
    (Abuse::ProvokedReset, H2_ABUSE_PROVOKED),
    (Abuse::Ping, H2_ABUSE_PING),
    (Abuse::Settings, H2_ABUSE_SETTINGS),
    (Abuse::Empty, H2_ABUSE_EMPTY),
    (Abuse::Priority, H2_ABUSE_PRIORITY),
    (Abuse::WindowUpdate, H2_ABUSE_WINDOW),
    (Abuse::Unknown, H2_ABUSE_UNKNOWN),
];
/// Errors that say that a client broke the protocol: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR,
/// ENHANCE_YOUR_CALM. Any other is the end of an answer, or the fault of a pod.
const PROVOKED: [u32; 5] = [1, 3, 5, 6, ENHANCE_YOUR_CALM as u32];
const ENHANCE_YOUR_CALM: u8 = 11;
/// Bytes of the preface of a client.
const PREFACE: u32 = 24;

// Types of frames and their flags (RFC 9113 §6, RFC 9218 §7).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests;
