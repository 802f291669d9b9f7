//! A server that does not keep to the protocol: nothing it says is believed, nothing it does costs more than its bound.

use crate::script::{Request, Step, server, sign, with_length};
use crate::stage::{ZONE, a, key, name, patient, replace};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType as WireType};
use nearside_dns_sync::publish::connection::{Bounds, Connection};
use nearside_dns_sync::publish::failure::Failure;
use nearside_dns_sync::record::RecordType;
use std::net::SocketAddr;
use std::time::Duration;

async fn connect(address: SocketAddr, bounds: Bounds) -> Connection {
    Connection::open(address, Some(key()), bounds).await.unwrap()
}

/// The outcome of an update, after which the connection is spent.
async fn update(script: impl FnMut(usize, Request) -> Vec<Step> + Send + 'static) -> Failure {
    let mut connection = connect(server(script), patient()).await;
    let change = replace("www.z.test", a(30, &["192.0.2.2"]));
    let failure = connection.update(&change).await.unwrap_err();
    assert!(!connection.is_usable());
    assert!(matches!(connection.update(&change).await, Err(Failure::Io(_))), "nothing more goes this way");
    failure
}

fn unbelievable(reason: &str) -> Failure {
    Failure::Unbelievable(reason.to_owned().into())
}

#[tokio::test]
async fn what_is_no_reply_is_not_believed() {
    let closed = "the server closed the connection";
    assert_eq!(update(|_, _| vec![Step::Close]).await, Failure::Io(closed.to_owned()));
    let half = |_, request: Request| {
        let reply = with_length(&request.signed(|_| {}));
        vec![Step::Raw(reply[..reply.len() - 7].to_vec()), Step::Close]
    };
    assert_eq!(update(half).await, Failure::Io(closed.to_owned()), "in the middle of a message");
    let empty = |_, _: Request| vec![Step::Raw(vec![0, 0])];
    assert_eq!(update(empty).await, unbelievable("it is no message"));
    let garbage = |_, _: Request| vec![Step::Send(vec![0xff; 200])];
    assert_eq!(update(garbage).await, unbelievable("it is no message"));
    let other_id = |_, request: Request| {
        vec![Step::Send(request.signed(|reply| reply.metadata.id = reply.metadata.id.wrapping_add(1)))]
    };
    let failure = update(other_id).await;
    assert!(
        failure == unbelievable("it has another id") || failure == unbelievable("its signature is wrong"),
        "{failure}"
    );
    let other_zone = |_, request: Request| {
        vec![Step::Send(request.signed(|reply| {
            reply.queries = vec![Query::query(Name::from_ascii("y.test.").unwrap(), WireType::SOA)];
        }))]
    };
    assert_eq!(update(other_zone).await, unbelievable("it is for another question"));
    let echo = |_, request: Request| vec![Step::Send(request.0)];
    assert_eq!(update(echo).await, unbelievable("its signature is wrong"), "the request itself");
}

#[tokio::test]
async fn a_success_that_is_not_signed_is_none() {
    let unsigned = |_, request: Request| vec![Step::Send(request.reply().to_vec().unwrap())];
    assert_eq!(update(unsigned).await, unbelievable("it is not signed"));
    let flipped = |_, request: Request| {
        let mut reply = request.signed(|_| {});
        // In the MAC, which stands in front of id, error and other length.
        let place = reply.len() - 10;
        reply[place] ^= 1;
        vec![Step::Send(reply)]
    };
    assert_eq!(update(flipped).await, unbelievable("its signature is wrong"));
    let changed = |_, request: Request| {
        let mut reply = request.signed(|reply| reply.metadata.response_code = ResponseCode::ServFail);
        reply[3] &= 0xf0;
        vec![Step::Send(reply)]
    };
    assert_eq!(update(changed).await, unbelievable("its signature is wrong"), "a refusal made a success");
    // A refusal needs no signature: it stops us, and that is all.
    for (rcode, wanted) in [
        (ResponseCode::Refused, Failure::Refused),
        (ResponseCode::NotAuth, Failure::NotAuthoritative),
        (ResponseCode::ServFail, Failure::ServerFailure),
        // It would make us read again without a pause.
        (ResponseCode::NXRRSet, unbelievable("it is not signed")),
    ] {
        let refusal = move |_, request: Request| {
            let mut reply = request.reply();
            reply.metadata.response_code = rcode;
            vec![Step::Send(reply.to_vec().unwrap())]
        };
        assert_eq!(update(refusal).await, wanted, "{rcode}");
    }
}

#[tokio::test]
async fn the_reply_to_an_earlier_request_is_not_believed() {
    let mut first = Vec::new();
    let address = server(move |number, request| {
        if number == 0 {
            first = request.signed(|_| {});
        }
        vec![Step::Send(first.clone())]
    });
    let mut connection = connect(address, patient()).await;
    let change = replace("www.z.test", a(30, &["192.0.2.2"]));
    connection.update(&change).await.unwrap();
    let failure = connection.update(&change).await.unwrap_err();
    assert_eq!(failure, unbelievable("its signature is wrong"));

    // One more than was asked for: whether it is there already or comes later, it is taken for nothing.
    let address = server(|_, request| {
        let reply = request.signed(|_| {});
        vec![Step::Send(reply.clone()), Step::Send(reply)]
    });
    let mut connection = connect(address, patient()).await;
    connection.update(&change).await.unwrap();
    assert!(matches!(connection.update(&change).await, Err(Failure::Unbelievable(_))));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_deadline() {
    let bounds = Bounds { exchange: Duration::from_millis(200), ..Bounds::default() };
    for partly in [false, true] {
        let address = server(move |_, _| if partly { vec![Step::Raw(vec![0, 9, 1])] } else { Vec::new() });
        let mut connection = connect(address, bounds).await;
        let failure = connection.update(&replace("www.z.test", a(30, &["192.0.2.2"]))).await;
        assert_eq!(failure, Err(Failure::Timeout(bounds.exchange)));
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn answers_may_come_in_any_order_and_each_once() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let address = server(move |_, request| {
        held.push(request.signed(|_| {}));
        if held.len() < 3 { Vec::new() } else { held.drain(..).rev().map(Step::Send).collect() }
    });
    let mut connection = connect(address, patient()).await;
    let questions = ["a", "b", "c"].map(|first| (name(&format!("{first}.z.test")), RecordType::A));
    let replies = connection.query(&questions).await.unwrap();
    assert_eq!(replies.len(), 3);
    assert!(replies.windows(2).all(|two| two[1].id == two[0].id.wrapping_add(1)), "in the order of the questions");

    let address = server(|_, request| {
        let reply = request.signed(|_| {});
        vec![Step::Send(reply.clone()), Step::Send(reply)]
    });
    let failure = connect(address, patient()).await.query(&questions).await.unwrap_err();
    assert_eq!(failure, unbelievable("it has another id"), "the second time");
}

fn soa(serial: u32) -> Record {
    let name = |text| Name::from_ascii(text).unwrap();
    let soa = SOA::new(name("ns1.z.test."), name("hostmaster.z.test."), serial, 3600, 600, 604_800, 5);
    Record::from_rdata(name("z.test."), 30, RData::SOA(soa))
}

fn address(owner: &str) -> Record {
    Record::from_rdata(Name::from_ascii(owner).unwrap(), 30, RData::A(A::new(192, 0, 2, 1)))
}

/// What becomes of a transfer whose messages have these records, all but those of the given numbers signed.
async fn transfer(
    messages: Vec<Vec<Record>>,
    unsigned: &'static [usize],
    then: fn() -> Vec<Step>,
) -> Result<usize, Failure> {
    let address = server(move |_, request| {
        let mut signer = request.signer();
        let mut steps: Vec<Step> = messages
            .iter()
            .enumerate()
            .map(|(number, records)| {
                let mut message: Message = request.reply();
                message.answers.clone_from(records);
                let is_signed = !unsigned.contains(&number);
                Step::Send(if is_signed { sign(&mut signer, &message) } else { message.to_vec().unwrap() })
            })
            .collect();
        steps.extend(then());
        steps
    });
    let bounds = Bounds { transfer_octets: 1_000_000, ..patient() };
    let content = connect(address, bounds).await.transfer(&name(ZONE)).await?;
    Ok(content.names.len())
}

fn close() -> Vec<Step> {
    vec![Step::Close]
}

#[tokio::test]
async fn a_part_of_a_zone_is_no_zone() {
    let (first, www, last) = (soa(7), address("www.z.test."), soa(7));
    let whole = vec![vec![first.clone()], vec![www.clone()], vec![last.clone()]];
    assert_eq!(transfer(whole, &[], close).await, Ok(2));
    assert_eq!(transfer(vec![vec![first.clone(), www.clone(), last.clone()]], &[], close).await, Ok(2));

    let cut = vec![vec![first.clone()], vec![www.clone()]];
    let ended = Failure::Io("the server closed the connection".to_owned());
    assert_eq!(transfer(cut, &[], close).await, Err(ended), "no end");
    for (messages, reason) in [
        (vec![vec![www.clone(), last.clone()]], "the transfer does not begin with the SOA of the zone"),
        (vec![vec![first.clone(), www.clone(), soa(8)]], "the transfer ends with another SOA than it began with"),
        (vec![vec![first.clone(), last.clone(), www.clone()]], "the transfer goes on after its end"),
        (vec![vec![first.clone(), address("www.y.test."), last.clone()]], "the transfer has a record of another zone"),
    ] {
        assert_eq!(transfer(messages, &[], close).await, Err(unbelievable(reason)));
    }
}

#[tokio::test]
async fn a_zone_that_is_not_signed_to_the_end_is_no_zone() {
    let messages = vec![vec![soa(7)], vec![address("www.z.test.")], vec![soa(7)]];
    assert_eq!(
        transfer(messages.clone(), &[2], close).await,
        Err(unbelievable("the end of the transfer is not signed"))
    );
    assert_eq!(transfer(messages.clone(), &[0], close).await, Err(unbelievable("it is not signed")));
    // A message in the middle may come unsigned, but then the next signature covers it, which this server leaves out.
    assert_eq!(transfer(messages, &[1], close).await, Err(unbelievable("its signature is wrong")));
}

#[tokio::test]
async fn a_transfer_without_an_end_is_given_up() {
    // Ever the same message, with one signature after the other.
    let endless = || {
        server(|_, request| {
            let mut signer = request.signer();
            let mut first = request.reply();
            first.answers.push(soa(7));
            let mut more = request.reply();
            more.answers = (0..500).map(|i| address(&format!("h{i}.z.test."))).collect();
            let mut steps = vec![Step::Send(sign(&mut signer, &first))];
            steps.extend((0..200).map(|_| Step::Send(sign(&mut signer, &more))));
            steps.push(Step::SendForEver(more.to_vec().unwrap()));
            steps
        })
    };
    let bounds = Bounds { transfer_octets: 1_000_000, ..patient() };
    let failure = connect(endless(), bounds).await.transfer(&name(ZONE)).await.unwrap_err();
    assert_eq!(failure, unbelievable("the zone is too large"));
    let failure = connect(endless(), patient()).await.transfer(&name(ZONE)).await.unwrap_err();
    assert_eq!(failure, unbelievable("too many of its messages are not signed"));
}
