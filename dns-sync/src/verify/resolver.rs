//! Asks one name server, as a client would: a name and types flow in, what it answers flows out. The only place that names the
//! library. No cache, no recursion, no hosts file, one attempt; UDP with EDNS first, TCP where the answer is cut short.

use super::Seen;
use crate::limits::{LOOK_TIMEOUT, MAX_LOOKS};
use crate::name::Name;
use crate::publish::observed::RecordSets;
use crate::record::{RecordType, Rrset};
use crate::wire::exchange::Request;
use crate::wire::rdata::gather;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Query};
use hickory_resolver::proto::rr::Name as WireName;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Why a server does not tell what it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// No answer in time, or none at all.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// REFUSED, SERVFAIL and the like.
    #[error("it answers {0}")]
    Rcode(String),
    /// What the system or the reader of messages says.
    #[error("{0}")]
    Failed(String),
}

impl Unseen {
    /// Whether the server is there at all.
    pub fn is_silence(&self) -> bool {
        !matches!(self, Self::Rcode(_))
    }
}

/// One name server.
#[derive(Clone)]
pub struct Resolver {
    pool: NameServerPool<TokioRuntimeProvider>,
    server: SocketAddr,
}

impl Resolver {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// Where the library cannot be set up.
    pub fn new(server: SocketAddr) -> Result<Self, Unseen> {
        let mut options = ResolverOpts::default();
        options.ndots = 0;
        options.timeout = LOOK_TIMEOUT;
        options.attempts = 1;
        options.edns0 = true;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = MAX_LOOKS;
        options.recursion_desired = false;
        let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
        name_server.connections.iter_mut().for_each(|connection| connection.port = server.port());
        let tls = TlsConfig::new().map_err(|error| Unseen::Failed(error.to_string()))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool = NameServerPool::from_config([name_server], context, TokioRuntimeProvider::default());
        Ok(Self { pool, server })
    }

    /// Which server it is.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// What the server has at a name, of these types. An answer of another name or type is not taken.
    ///
    /// # Errors
    /// [`Unseen`] where it does not say so for any one of the types.
    pub async fn seen(&self, name: &Name, types: &BTreeSet<RecordType>) -> Result<Seen, Unseen> {
        let mut seen = Seen { authoritative: true, sets: RecordSets::new() };
        // One after the other: a server that counts what one address asks must not see a burst for each name.
        for &record_type in types {
            let (authoritative, set) = self.set(name, record_type).await?;
            seen.authoritative &= authoritative;
            seen.sets.extend(set.map(|set| (record_type, set)));
        }
        Ok(seen)
    }

    async fn set(&self, name: &Name, record_type: RecordType) -> Result<(bool, Option<Rrset>), Unseen> {
        let mut asked = WireName::from_labels(name.labels()).map_err(|error| Unseen::Failed(error.to_string()))?;
        asked.set_fqdn(true);
        let query = Query::query(asked, record_type.code().into());
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.recursion_desired = false;
        let answer = self.pool.lookup(query, options).first_answer();
        match tokio::time::timeout(LOOK_TIMEOUT, answer).await {
            Err(_) | Ok(Err(NetError::Timeout)) => Err(Unseen::Timeout(LOOK_TIMEOUT)),
            // Without the SOA of a zone an empty answer is a referral, or of somebody who knows nothing.
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => Ok((none.soa.is_some(), None)),
            Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => Err(Unseen::Rcode(code.to_str().to_owned())),
            Ok(Err(error)) => Err(Unseen::Failed(error.to_string())),
            Ok(Ok(response)) => {
                // Read from its octets by the reader that the publisher has for its own replies: what is compared is of one make.
                let reply = Request::query(response.id, name.clone(), record_type)
                    .read_reply(response.as_buffer(), false)
                    .map_err(|error| Unseen::Failed(error.to_string()))?;
                let set = gather(reply.answers.iter().filter(|record| record.owner == *name)).remove(&record_type);
                Ok((reply.authoritative, set))
            }
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("server", &self.server).finish_non_exhaustive()
    }
}
