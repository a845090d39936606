//! Create: PUT (PROTOCOL.md 5.1), also of forks (4.2).

use super::content::Content;
use super::fill::Fill;
use super::fork::Fork;
use super::reader_key;
use super::{Closure, Ended, Life, Stream};
use crate::protocol::Millis;
use crate::protocol::command::Create;
use crate::protocol::content_type::ContentType;
use crate::protocol::fork::{ForkRequest, Inheritance};
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Creating<'a> {
    /// Create this empty stream and append its initial content.
    Create(Box<Stream>, Content<'a>),
    /// The stream exists with the requested configuration.
    Exists,
    /// Ask the source first, then decide with [`fork`].
    Fork(&'a ForkRequest),
}

/// Decides a PUT. A new incarnation continues the segment numbers of the previous one, so that no offset of an
/// old incarnation is valid in a new one.
pub fn create<'a>(life: &Life, request: &'a Create<'_>, now: Millis) -> Result<Creating<'a>, Refusal> {
    request.lifetime.check(now)?;
    let Some(next) = Next::of(life)? else { return exists(life, request) };
    if let Some(fork) = &request.fork {
        if let Some(content_type) = &request.content_type {
            // Refuse an invalid body before the call to the source.
            Content::of_body(content_type.format(), &request.body)?;
        }
        return Ok(Creating::Fork(fork));
    }
    let content_type = request.content_type.clone().unwrap_or_else(ContentType::unnamed);
    let content = Content::of_body(content_type.format(), &request.body)?;
    let stream = born(request, next, content_type, request.lifetime, now);
    Ok(Creating::Create(Box::new(stream), content))
}

/// Decides the PUT of a fork after the source has granted it.
pub fn fork<'a>(
    life: &Life,
    request: &'a Create<'_>,
    granted: &Inheritance,
    now: Millis,
) -> Result<Creating<'a>, Refusal> {
    // Another PUT may have created the stream during the call to the source.
    let Some(next) = Next::of(life)? else { return exists(life, request) };
    let (Some(asked), Some(until)) = (&request.fork, granted.until) else {
        return Err(Refusal::Fork(ForkRefusal::SourceNotFound));
    };
    let content_type = match &request.content_type {
        Some(content_type) => content_type.clone(),
        None => ContentType::stored(&granted.content_type)?,
    };
    let content = Content::of_body(content_type.format(), &request.body)?;
    let own_lifetime = request.lifetime != Lifetime::Unlimited;
    let lifetime = if own_lifetime { request.lifetime } else { granted.lifetime };
    let fork = Fork::of(asked, granted, until, next.segment, own_lifetime);
    let own_start = fork.own_start;
    let mut stream = born(request, next, content_type, lifetime, now);
    stream.fork = Some(Box::new(fork));
    stream.tail = own_start;
    stream.first_segment = own_start.segment;
    stream.hot_from = own_start.segment;
    Ok(Creating::Create(Box::new(stream), content))
}

/// The next incarnation of a URL.
#[derive(Clone, Copy)]
struct Next {
    incarnation: u64,
    segment: u64,
}

impl Next {
    /// `None` while the stream exists.
    fn of(life: &Life) -> Result<Option<Next>, Refusal> {
        match life {
            Life::Live(_) => Ok(None),
            Life::Gone(_) => Err(Refusal::HeldByForks),
            Life::Unborn => Ok(Some(Next { incarnation: 1, segment: 0 })),
            Life::Ended(Ended { incarnation, next_segment }) => {
                Ok(Some(Next { incarnation: incarnation + 1, segment: *next_segment }))
            }
        }
    }
}

fn born(
    request: &Create<'_>,
    next: Next,
    content_type: ContentType,
    lifetime: Lifetime,
    now: Millis,
) -> Stream {
    let lease_until = match lifetime {
        Lifetime::Ttl { seconds } => now + seconds * 1000,
        Lifetime::Unlimited | Lifetime::ExpiresAt { .. } => 0,
    };
    Stream {
        incarnation: next.incarnation,
        content_type,
        lifetime,
        public: request.public,
        reader_key: reader_key::secret(&request.reader_key),
        retention: request.retention,
        created_at: now,
        first_segment: next.segment,
        hot_from: next.segment,
        rotated_bytes: 0,
        rotated_messages: 0,
        tail: Offset::segment_start(next.segment),
        fill: Fill::default(),
        stream_seq: None,
        closure: if request.closed { Closure::Closed } else { Closure::Open },
        written_at: now,
        touched_at: now,
        lease_until,
        fork: None,
    }
}

fn exists<'a>(life: &Life, request: &Create<'_>) -> Result<Creating<'a>, Refusal> {
    let stream = life.live()?;
    let differs = |what| Err(Refusal::ExistsWithOtherConfig { what });
    let is_same_fork = match (&stream.fork, &request.fork) {
        (None, None) => true,
        (Some(fork), Some(asked)) => fork.is_asked_for_by(asked),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !is_same_fork {
        return differs(
            "source (Stream-Forked-From, Stream-Fork-Offset, Stream-Fork-Sub-Offset, Stream-Fork-At)",
        );
    }
    // A PUT of a fork may omit the type, which the fork inherits.
    let unnamed = request.fork.is_none().then(ContentType::unnamed);
    let content_type = request.content_type.as_ref().or(unnamed.as_ref());
    if content_type.is_some_and(|asked| !stream.content_type.matches(asked.as_str())) {
        return differs("Content-Type");
    }
    let inherits_lifetime = stream.fork.as_ref().is_some_and(|fork| !fork.own_lifetime);
    let asked = if inherits_lifetime && request.lifetime == Lifetime::Unlimited {
        stream.lifetime
    } else {
        request.lifetime
    };
    if stream.lifetime != asked {
        return differs("lifetime (Stream-TTL, Stream-Expires-At)");
    }
    // As with the lifetime, a stream without a retention differs from one with any, because the deployment's
    // default may change.
    if stream.retention != request.retention {
        return differs("retention (Stream-Retention)");
    }
    match (stream.closure.is_closed(), request.closed) {
        (true, false) => return differs("Stream-Closed (it is closed already)"),
        (false, true) => return differs("Stream-Closed (it is open)"),
        (true, true) | (false, false) => {}
    }
    if stream.public != request.public {
        return differs("audience (Stream-Public)");
    }
    Ok(Creating::Exists)
}
