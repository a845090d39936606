//! Finds where a read or a fork begins that names a time or a number of messages. A stream searches its own messages at
//! once. Of what it inherited only the owners know the times, so a search there calls one owner after the other
//! (`stream/seek.rs`).

use super::answer::Error;
use super::ends::Ends;
use super::fetch::{Bound, Fetch, Fetched, PendingRead};
use super::live::Sockets;
use super::ports::Ports;
use super::shapes::Shapes;
use super::state::Object;
use crate::protocol::command::Read;
use crate::protocol::fork::{Goal, Owner, Seek, Sought};
use crate::protocol::offset::{Offset, ReadFrom};
use crate::storage::seek::first_since;
use crate::storage::{Failure, Sql};
use crate::stream::Stream;
use crate::stream::read::begin;
use crate::stream::seek::{Search, SearchStep};

/// Where a read begins.
pub(super) enum Beginning {
    At(Offset),
    /// Owners must be asked first.
    Asks(Box<PendingRead>),
}

/// The beginning of a read. Refuses offsets outside the stream.
pub(super) fn beginning(
    sql: &dyn Sql,
    stream: &Stream,
    path: &str,
    request: &Read,
    bound: Bound,
) -> Result<Beginning, Error> {
    if let Some(offset) = begin(stream, request.from)? {
        return Ok(Beginning::At(offset));
    }
    let search = match request.from {
        ReadFrom::Since(since) => match own_since(sql, stream, since)? {
            Some(offset) => return Ok(Beginning::At(offset)),
            None => Search::since(since, stream.start(), inherited_owners(stream)),
        },
        ReadFrom::Last(count) => {
            let found = Ends { sql, stream }.walk_back(stream.own_start(), stream.tail, count)?;
            if found.left == 0 || inherited_owners(stream).is_empty() {
                return Ok(Beginning::At(found.at));
            }
            let format = stream.content_type.format();
            Search::last(found.left, format, stream.start(), inherited_owners(stream))
        }
        ReadFrom::Start | ReadFrom::Now | ReadFrom::At(_) => return Ok(Beginning::At(stream.tail)),
    };
    Ok(ask(stream, path, search, bound))
}

/// The first message of the stream's own that was written at `since` or later, or its tail. `None` if an inherited message
/// may be as late: all of those are older than the stream.
pub(super) fn own_since(sql: &dyn Sql, stream: &Stream, since: u64) -> Result<Option<Offset>, Failure> {
    if since <= stream.created_at && !inherited_owners(stream).is_empty() {
        return Ok(None);
    }
    let found = first_since(sql, stream, stream.first_segment, since)?;
    Ok(Some(found.map_or(stream.tail, |found| found.min(stream.tail))))
}

fn inherited_owners(stream: &Stream) -> Vec<Owner> {
    stream.inherited().map_or_else(Vec::new, |fork| fork.owners.clone())
}

/// Continues a search: the beginning, or the next owner to ask.
fn ask(stream: &Stream, path: &str, mut search: Search, bound: Bound) -> Beginning {
    let (path_of_owner, seek) = match search.step() {
        SearchStep::There(offset) => return Beginning::At(offset),
        SearchStep::Ask(path, seek) => (path, seek),
    };
    Beginning::Asks(Box::new(PendingRead {
        fetches: vec![Fetch::Seek { path: path_of_owner, ask: seek }],
        parts: Vec::new(),
        path: path.to_owned(),
        incarnation: stream.incarnation,
        start: stream.start(),
        hot_from: stream.hot_from,
        tail: stream.tail,
        bound,
        learnt: Shapes::default(),
        search: Some(search),
    }))
}

/// Continues a search with the answer of the owner that was asked.
pub(super) fn sought(
    stream: &Stream,
    pending: &PendingRead,
    search: &Search,
    fetched: &[Fetched],
) -> Result<Beginning, Failure> {
    let mut search = search.clone();
    match fetched {
        [Fetched::Sought(sought)] => search.answered(*sought),
        [Fetched::Failed(failure)] => return Err(failure.clone()),
        _ => {
            return Err(Failure::new("seek in inherited part", "its owner's answer does not match the call"));
        }
    }
    Ok(ask(stream, &pending.path, search, pending.bound))
}

/// The part of an owner.
impl Object {
    /// Finds a place in data of this stream that a fork has inherited.
    pub(super) fn seek<S: Sockets>(&mut self, ports: &Ports<'_, S>, ask: &Seek) -> Result<Sought, Failure> {
        let Seek { incarnation, from, until, goal } = *ask;
        let sql = ports.sql;
        let stream = self.owned(ports, incarnation)?;
        match goal {
            Goal::Since(since) => {
                let found = first_since(sql, stream, from.segment, since)?.map(|found| found.max(from));
                Ok(Sought { at: found.filter(|found| *found < until), left: 0 })
            }
            Goal::Last(count) => {
                let walked = Ends { sql, stream }.walk_back(from, until, count)?;
                Ok(Sought { at: Some(walked.at), left: walked.left })
            }
        }
    }
}
