//! The page: how far each name has come flows in, the [`Overview`] that the admin port shows flows out.

use super::Progress;
use super::statement::Reason;
use crate::overview::{NameState, Overview, PlaceState, ServerState, Stage};
use std::time::Instant;

impl Progress {
    /// All that is known, at this moment.
    pub fn overview(&self, now: Instant) -> Overview {
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let servers = self.places.iter().map(|(place, server)| ServerState {
            zone: place.zone.to_string(),
            server: place.server.to_string(),
            updated: server.updated,
            up: server.up,
            for_seconds: seconds(server.since),
            error: server
                .failure
                .as_ref()
                .map(ToString::to_string)
                .or_else(|| server.unseen.as_ref().map(ToString::to_string)),
        });
        let names = self.names.iter().map(|(name, known)| {
            let place_state = |(place, at): (&crate::publish::fact::Place, &super::At)| PlaceState {
                server: place.server.to_string(),
                stage: at.stage,
                for_seconds: seconds(at.since),
                error: self
                    .trouble_at(place, known, now)
                    .filter(|(reason, _)| at.stage < Stage::Visible && *reason != Reason::Waiting)
                    .map(|(_, text)| text),
                generation: at.generation,
            };
            let everywhere = known.everywhere(&self.places, now);
            let stage = if known.is_settled(now) { Stage::Settled } else { everywhere };
            let trouble = self.trouble(name, known, now).filter(|_| stage < Stage::Visible);
            let (reason, message) = trouble.map(|(reason, text)| (reason.word().to_owned(), text)).unzip();
            NameState {
                name: name.to_string(),
                zone: known.zone.to_string(),
                object: known.wanted.as_ref().map(|wanted| wanted.object.to_string()),
                generation: known.wanted.as_ref().map_or(0, |wanted| wanted.generation),
                stage,
                for_seconds: seconds(known.visible_since.unwrap_or(known.since)),
                reason,
                message: message.unwrap_or_default(),
                servers: known.at.iter().map(place_state).collect(),
            }
        });
        Overview {
            cluster: self.cluster.clone(),
            synced: self.synced,
            servers: servers.collect(),
            names: names.collect(),
        }
    }
}
