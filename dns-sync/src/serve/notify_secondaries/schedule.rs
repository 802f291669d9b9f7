//! When to tell one secondary about which zone: serials and times flow in, notices flow out. Pure; used by `notify`.

use crate::limits::NOTIFY_PAUSES;
use crate::name::Name;
use crate::wire::exchange::Request;
use crate::wire::tsig::requests::ReplyVerifier;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one secondary has still to be told. Times are counted from an epoch of the caller's.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    zones: BTreeMap<Name, Told>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) zone: Name,
    pub(super) serial: u32,
    /// Told often enough without an answer.
    pub(super) given_up: bool,
}

#[derive(Debug)]
struct Told {
    serial: u32,
    /// When to tell it next; `None` where it is confirmed or given up.
    due: Option<Duration>,
    times: usize,
    /// What was sent last.
    sent: Option<(Request, Option<ReplyVerifier>)>,
}

impl Schedule {
    /// These zones are served now.
    pub(super) fn published(&mut self, serials: impl Iterator<Item = (Name, u32)>, now: Duration) {
        for (zone, serial) in serials {
            let told = self.zones.entry(zone);
            let told = told.or_insert_with(|| Told { serial: serial.wrapping_sub(1), due: None, times: 0, sent: None });
            if told.serial != serial {
                *told = Told { serial, due: Some(now), times: 0, sent: None };
            }
        }
    }

    /// When [`take`](Self::take) has something.
    pub(super) fn next(&self) -> Option<Duration> {
        self.zones.values().filter_map(|told| told.due).min()
    }

    /// A zone to tell about, which is then due again after a pause.
    pub(super) fn take(&mut self, now: Duration) -> Option<Notice> {
        let (zone, told) = self.zones.iter_mut().find(|(_, told)| told.due.is_some_and(|due| due <= now))?;
        let pause = NOTIFY_PAUSES.get(told.times);
        told.due = pause.map(|pause| now + *pause);
        told.times += 1;
        Some(Notice { zone: zone.clone(), serial: told.serial, given_up: pause.is_none() })
    }

    /// The notice was sent as this request.
    pub(super) fn sent(&mut self, zone: &Name, request: Request, verifier: Option<ReplyVerifier>) {
        if let Some(told) = self.zones.get_mut(zone) {
            told.sent = Some((request, verifier));
        }
    }

    /// Something came: `is_reply` says whether it confirms a request. Returns the zone that needs to be told no more.
    pub(super) fn confirm(&mut self, is_reply: impl Fn(&Request, Option<ReplyVerifier>) -> bool) -> Option<Name> {
        let sent =
            |told: &Told| told.sent.as_ref().is_some_and(|(request, verifier)| is_reply(request, verifier.clone()));
        let (zone, told) = self.zones.iter_mut().find(|(_, told)| sent(told))?;
        (told.due, told.sent) = (None, None);
        Some(zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn zones(serial: u32) -> impl Iterator<Item = (Name, u32)> {
        std::iter::once(("z.test".parse().unwrap(), serial))
    }

    /// The times of all notices, and whether it was given up in the end.
    fn told(schedule: &mut Schedule) -> (Vec<Duration>, bool) {
        let mut times = Vec::new();
        while let Some(due) = schedule.next() {
            let notice = schedule.take(due).unwrap();
            if notice.given_up {
                return (times, true);
            }
            times.push(due);
        }
        (times, false)
    }

    #[test]
    fn a_change_is_told_at_once_and_again_with_growing_pauses() {
        let mut schedule = Schedule::default();
        schedule.published(zones(7), seconds(5));
        assert_eq!(schedule.take(seconds(4)), None);
        let (times, given_up) = told(&mut schedule);
        assert_eq!(times, [5, 6, 8, 12, 20, 36, 68].map(seconds));
        assert!(given_up);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_confirmed_serial_is_not_told_again_and_a_new_one_is() {
        let mut schedule = Schedule::default();
        schedule.published(zones(7), seconds(0));
        let notice = schedule.take(seconds(0)).unwrap();
        assert_eq!(schedule.confirm(|_, _| true), None, "nothing was sent");
        schedule.sent(&notice.zone, Request::notify(1, notice.zone.clone()), None);
        assert_eq!(schedule.confirm(|_, _| false), None);
        assert_eq!(schedule.confirm(|request, _| request.id == 1), Some(notice.zone));
        schedule.published(zones(7), seconds(9));
        assert_eq!(schedule.next(), None);
        schedule.published(zones(8), seconds(9));
        assert_eq!(schedule.take(seconds(9)).unwrap().serial, 8);
    }

    #[test]
    fn a_change_while_an_older_one_is_told_begins_anew() {
        let mut schedule = Schedule::default();
        schedule.published(zones(7), seconds(0));
        schedule.take(seconds(0)).unwrap();
        schedule.published(zones(8), seconds(0));
        assert_eq!(told(&mut schedule).0.len(), NOTIFY_PAUSES.len());
    }
}
