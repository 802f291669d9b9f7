//! Room at one endpoint: requests begin and end, and where an endpoint has a limit the ones beyond it wait their turn. What
//! frees room gives it to the oldest that may have it. A request may wait at several endpoints and goes to the first with
//! room; one that stops waiting leaves every queue. `backends` lets requests in.

use super::tracked::Tracked;
use crate::limits::POD_QUEUE;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The requests of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Slots {
    in_flight: AtomicUsize,
    /// As many as are in the queue, to be looked at without its lock. Changed with the lock held. Both counts are
    /// sequentially consistent: who joins the queue and then sees no room is seen by whoever makes room after that.
    waiting: AtomicUsize,
    queue: Mutex<BTreeMap<u64, Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    /// Requests that the endpoint may have at a time as far as this one is concerned.
    limit: usize,
    turn: Arc<Turn>,
}

/// What a waiting request gets, from whichever endpoint is first.
#[derive(Debug, Default)]
struct Turn {
    state: Mutex<TurnState>,
    changed: Notify,
}

#[derive(Debug, Default)]
enum TurnState {
    #[default]
    Waits,
    /// The endpoint counts the request already.
    Granted(Arc<Tracked>),
    Over,
}

/// A request that an endpoint is busy with while the value lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Tracked>);

/// A request that waits for room while the value lives.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    turn: Arc<Turn>,
    endpoints: Vec<Arc<Tracked>>,
}

impl InFlight {
    /// Begins one, whatever room there is.
    pub(super) fn begin(endpoint: &Arc<Tracked>) -> Self {
        endpoint.slots.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(endpoint))
    }

    /// Begins one if the endpoint has fewer than `limit` and nobody waits.
    pub(super) fn try_begin(endpoint: &Arc<Tracked>, limit: usize) -> Option<Self> {
        let free = endpoint.slots.waiting.load(Ordering::SeqCst) == 0 && endpoint.slots.claim(limit);
        free.then(|| Self(Arc::clone(endpoint)))
    }

    /// Whose it is.
    pub(super) fn endpoint(&self) -> &Tracked {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.slots.in_flight.fetch_sub(1, Ordering::SeqCst);
        serve(&self.0);
    }
}

impl Slots {
    /// Requests that the endpoint is busy with.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn claim(&self, limit: usize) -> bool {
        let one_more = |count| (count < limit).then_some(count + 1);
        self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    fn queue(&self) -> MutexGuard<'_, BTreeMap<u64, Waiter>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, number: u64) {
        if self.queue().remove(&number).is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Gives room to those that wait, the oldest first, until there is no more of either.
fn serve(endpoint: &Arc<Tracked>) {
    let slots = &endpoint.slots;
    while slots.waiting.load(Ordering::SeqCst) > 0 {
        let turn = {
            let mut queue = slots.queue();
            let Some(number) = queue.iter().find(|(_, waiter)| slots.claim(waiter.limit)).map(|(number, _)| *number)
            else {
                return;
            };
            slots.waiting.fetch_sub(1, Ordering::SeqCst);
            queue.remove(&number).map(|waiter| waiter.turn)
        };
        if !turn.is_some_and(|turn| turn.grant(endpoint)) {
            // Another endpoint was first.
            slots.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Turn {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(&self, endpoint: &Arc<Tracked>) -> bool {
        let mut state = self.state();
        let waits = matches!(*state, TurnState::Waits);
        if waits {
            *state = TurnState::Granted(Arc::clone(endpoint));
            self.changed.notify_one();
        }
        waits
    }

    fn take(&self, otherwise: TurnState) -> Option<InFlight> {
        let mut state = self.state();
        if let TurnState::Waits = *state {
            *state = otherwise;
            return None;
        }
        match std::mem::replace(&mut *state, TurnState::Over) {
            TurnState::Granted(endpoint) => Some(InFlight(endpoint)),
            TurnState::Waits | TurnState::Over => None,
        }
    }
}

impl Ticket {
    /// Joins the queues of these endpoints; `None` if all of them are full.
    pub(super) fn join<'e>(endpoints: impl Iterator<Item = &'e Arc<Tracked>>, limit: usize) -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut ticket = Self { number, turn: Arc::default(), endpoints: Vec::new() };
        for endpoint in endpoints {
            let mut queue = endpoint.slots.queue();
            if queue.len() < POD_QUEUE {
                queue.insert(number, Waiter { limit, turn: Arc::clone(&ticket.turn) });
                endpoint.slots.waiting.fetch_add(1, Ordering::SeqCst);
                ticket.endpoints.push(Arc::clone(endpoint));
            }
        }
        // Room that was made before the queue was joined.
        ticket.endpoints.iter().for_each(serve);
        (!ticket.endpoints.is_empty()).then_some(ticket)
    }

    /// Waits until one of the endpoints has room. Says nothing a second time.
    pub(super) async fn granted(&mut self) -> InFlight {
        loop {
            if let Some(begun) = self.turn.take(TurnState::Waits) {
                return begun;
            }
            self.turn.changed.notified().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for endpoint in &self.endpoints {
            endpoint.slots.leave(self.number);
        }
        // What was granted and not taken goes to the next.
        drop(self.turn.take(TurnState::Over));
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// What a future gives without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn endpoint() -> Arc<Tracked> {
        Arc::new(Tracked::new(None))
    }

    #[test]
    fn room_goes_to_the_oldest_that_waits_and_not_to_one_that_just_came() {
        let pod = endpoint();
        let first = InFlight::try_begin(&pod, 1).unwrap();
        assert!(InFlight::try_begin(&pod, 1).is_none());
        let mut second = Ticket::join([&pod].into_iter(), 1).unwrap();
        let mut third = Ticket::join([&pod].into_iter(), 1).unwrap();
        assert!(now(second.granted()).is_none() && now(third.granted()).is_none());
        drop(first);
        assert!(InFlight::try_begin(&pod, 1).is_none(), "the room is promised");
        assert!(now(third.granted()).is_none());
        let second = now(second.granted()).unwrap();
        assert_eq!(pod.in_flight(), 1);
        drop(second);
        drop(now(third.granted()).unwrap());
        drop(third);
        assert_eq!(pod.in_flight(), 0);
        assert!(InFlight::try_begin(&pod, 1).is_some());
    }

    #[test]
    fn one_that_stops_waiting_is_passed_over_even_where_it_had_its_turn() {
        let pod = endpoint();
        let first = InFlight::begin(&pod);
        let (second, third) = (Ticket::join([&pod].into_iter(), 1), Ticket::join([&pod].into_iter(), 1));
        let mut fourth = Ticket::join([&pod].into_iter(), 1).unwrap();
        drop(second);
        drop(first);
        // The third has its turn now and goes without taking it.
        drop(third);
        assert!(now(fourth.granted()).is_some());
        drop(fourth);
        assert_eq!((pod.in_flight(), pod.slots.queue().len()), (0, 0));
    }

    #[test]
    fn the_first_of_several_endpoints_with_room_has_the_request_and_the_others_keep_theirs() {
        let (one, two) = (endpoint(), endpoint());
        let busy = (InFlight::begin(&one), InFlight::begin(&two));
        let mut ticket = Ticket::join([&one, &two].into_iter(), 1).unwrap();
        drop(busy.1);
        drop(busy.0);
        let begun = now(ticket.granted()).unwrap();
        assert_eq!(begun.endpoint().id(), two.id());
        assert_eq!((one.in_flight(), two.in_flight()), (0, 1));
        drop((begun, ticket));
        assert!(InFlight::try_begin(&one, 1).is_some() && InFlight::try_begin(&two, 1).is_some());
    }

    #[test]
    fn a_limit_holds_for_those_who_have_it_and_a_queue_has_an_end() {
        let pod = endpoint();
        let unlimited: Vec<_> = (0..3).map(|_| InFlight::begin(&pod)).collect();
        let mut low = Ticket::join([&pod].into_iter(), 2).unwrap();
        let mut high = Ticket::join([&pod].into_iter(), 4).unwrap();
        assert!(now(low.granted()).is_none());
        assert!(now(high.granted()).is_some(), "there is room for one that may be the fourth");
        drop((high, unlimited));
        assert!(now(low.granted()).is_some());
        drop(low);
        let full = InFlight::begin(&pod);
        let all: Vec<_> = (0..POD_QUEUE).map(|_| Ticket::join([&pod].into_iter(), 1).unwrap()).collect();
        assert!(Ticket::join([&pod].into_iter(), 1).is_none());
        drop((all, full));
        assert_eq!((pod.in_flight(), pod.slots.queue().len()), (0, 0));
    }

    #[test]
    fn no_room_is_lost_or_made_up_while_many_come_and_go_at_once() {
        let pods = [endpoint(), endpoint()];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let visitors = (0..200_u32).map(|number| {
                let pods = pods.clone();
                tokio::spawn(async move {
                    let mut ticket = Ticket::join(pods.iter(), 3).unwrap();
                    if number % 5 == 0 {
                        tokio::task::yield_now().await;
                        return;
                    }
                    let begun = ticket.granted().await;
                    assert!(begun.endpoint().in_flight() <= 3);
                    tokio::task::yield_now().await;
                })
            });
            for visitor in visitors.collect::<Vec<_>>() {
                visitor.await.unwrap();
            }
        });
        for pod in pods {
            assert_eq!((pod.in_flight(), pod.slots.queue().len()), (0, 0));
            assert_eq!(pod.slots.waiting.load(Ordering::SeqCst), 0);
        }
    }
}
