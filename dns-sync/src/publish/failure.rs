//! How a server may fail an exchange, told apart by rcode, TSIG error and signature together (an rcode alone means different
//! things on BIND, Knot and PowerDNS). Made by `wire` and the connection; the worker decides by [`Failure::remedy`].

use std::borrow::Cow;
use std::time::Duration;

/// Why an exchange with a server did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// RFC 8945 §5.2: the server does not accept the signature.
    #[error("the server does not accept the signature ({0})")]
    Signature(SignatureFault),
    /// REFUSED: no right to do this; or, from PowerDNS, anything about the key.
    #[error("REFUSED: the key may not do this here, or the server does not know it")]
    Refused,
    /// NOTAUTH without a TSIG error: the zone is not served there; or, from PowerDNS, anything about the key of a question.
    #[error("NOTAUTH: the server is not authoritative for the zone, or does not know the key")]
    NotAuthoritative,
    /// NOTZONE: a name of the message is outside of the zone.
    #[error("NOTZONE: a name is outside of the zone")]
    NotZone,
    /// YXDOMAIN, YXRRSET, NXDOMAIN, NXRRSET (RFC 2136 §3.2): what was read before is not so any more.
    #[error("{0}: the server holds something else than was read before")]
    Prerequisite(&'static str),
    /// SERVFAIL: perhaps for ever (too many records), perhaps for a moment (the zone is being loaded).
    #[error("SERVFAIL")]
    ServerFailure,
    /// FORMERR, NOTIMP or any other rcode.
    #[error("rcode {0}")]
    Rcode(u16),
    /// No connection, or it ended.
    #[error("{0}")]
    Io(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// An answer that is none: unsigned, wrongly signed, for another question, cut short. The reply is never believed.
    #[error("the reply cannot be believed: {0}")]
    Unbelievable(Cow<'static, str>),
    /// The update was accepted, and what stands there is not what it should have made.
    #[error("the server has accepted the update and not made it")]
    NotMade,
    /// There is no key to sign with.
    #[error("there is no key to sign with: {0}")]
    NoKey(String),
    /// The message would be larger than 65,535 octets.
    #[error("the message is too large")]
    TooLarge,
}

/// RFC 8945 §3, the TSIG errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// BADSIG: another secret.
    #[error("BADSIG: the secret is another one there")]
    BadSig,
    /// BADKEY: no key of this name, or not for this zone.
    #[error("BADKEY: no such key there, or not for this zone")]
    BadKey,
    /// BADTIME, with what the server's clock shows less what ours shows, in seconds.
    #[error("BADTIME: the server's clock is {0} s from ours")]
    BadTime(i64),
    /// BADTRUNC or any other.
    #[error("TSIG error {0}")]
    Other(u16),
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Read again, plan again; no pause.
    Observe,
    /// Try again after a pause that grows.
    Retry,
    /// The same, slowly: somebody has to change the key, the rights or the clock. At once where the secret has changed.
    Authorise,
    /// If it comes again and again, look for the name that is at fault, and leave that one out.
    Isolate,
}

impl Failure {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Prerequisite(_) => Remedy::Observe,
            Self::Signature(_) | Self::Refused | Self::NotAuthoritative | Self::NoKey(_) => Remedy::Authorise,
            Self::ServerFailure | Self::NotZone | Self::Rcode(_) | Self::TooLarge | Self::NotMade => Remedy::Isolate,
            Self::Io(_) | Self::Timeout(_) | Self::Unbelievable(_) => Remedy::Retry,
        }
    }

    /// The word for it in metrics and conditions.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Signature(SignatureFault::BadSig) => "BadSig",
            Self::Signature(SignatureFault::BadKey) => "BadKey",
            Self::Signature(SignatureFault::BadTime(_)) => "BadTime",
            Self::Signature(SignatureFault::Other(_)) => "BadTsig",
            Self::Refused => "Refused",
            Self::NotAuthoritative => "NotAuthoritative",
            Self::NotZone => "NotZone",
            Self::Prerequisite(_) => "Prerequisite",
            Self::ServerFailure => "ServFail",
            Self::Rcode(_) => "Rcode",
            Self::Io(_) => "Unreachable",
            Self::Timeout(_) => "Timeout",
            Self::Unbelievable(_) => "Unbelievable",
            Self::TooLarge => "TooLarge",
            Self::NotMade => "NotMade",
            Self::NoKey(_) => "NoKey",
        }
    }
}
