//! Forks (PROTOCOL.md 4.2): the inherited part of a fork, and the walk that resolves its sub-offset.

use serde::{Deserialize, Serialize};

use super::seek::{Search, SearchStep};
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::fork::{ForkRequest, Inheritance, Owner, Sought, Walk, Walked};
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;

/// A fork's record of its source. All offsets are the fork's own, except the anchor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    #[serde(rename = "edge")]
    pub link: String,
    pub source: String,
    /// The offset that the PUT named, as an offset of the source.
    pub anchor: Offset,
    /// Messages (JSON) or bytes after the anchor.
    pub sub_offset: u64,
    /// The time that the PUT named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// Whether the PUT set the lifetime; otherwise it is the source's.
    pub own_lifetime: bool,
    /// The start of its inherited part.
    pub start: Offset,
    /// The start of its own part.
    pub own_start: Offset,
    /// The owners of the inherited bytes, in order.
    pub owners: Vec<Owner>,
}

impl Fork {
    /// The fork that a source has granted. Segment numbers continue those of the URL's previous incarnation, so
    /// that no old offset is valid in this stream.
    pub fn of(
        request: &ForkRequest,
        granted: &Inheritance,
        until: Offset,
        next_segment: u64,
        own_lifetime: bool,
    ) -> Fork {
        let shift = next_segment.saturating_sub(granted.start.segment);
        let shifted = |owner: &Owner| Owner {
            shift: owner.shift + shift,
            until: owner.until.shifted(shift),
            ..owner.clone()
        };
        Fork {
            link: request.link.clone(),
            source: request.source.as_str().to_owned(),
            anchor: granted.anchor,
            sub_offset: request.sub_offset,
            at: request.at,
            own_lifetime,
            start: granted.start.shifted(shift),
            own_start: until.shifted(shift),
            owners: granted.owners.iter().map(shifted).collect(),
        }
    }

    /// Whether a PUT requests this fork. A PUT without an offset matches any anchor.
    pub fn is_asked_for_by(&self, request: &ForkRequest) -> bool {
        self.source == request.source.as_str()
            && self.sub_offset == request.sub_offset
            && request.offset.is_none_or(|offset| offset == self.anchor)
            && request.at.is_none_or(|at| Some(at) == self.at)
    }

    /// Records that an owner's segments before `hot_from` are in the bucket.
    pub fn owner_rotated(&mut self, path: &str, hot_from: u64) {
        for owner in self.owners.iter_mut().filter(|owner| owner.path == path) {
            owner.hot_from = owner.hot_from.max(hot_from);
        }
    }

    /// The owner of the byte or message at an inherited offset.
    pub fn owner_at(&self, offset: Offset) -> Option<&Owner> {
        self.owners.iter().find(|owner| offset < owner.until)
    }
}

/// The owners' parts before `until`, where `start` is the beginning of the first part.
pub fn owners_until(owners: Vec<Owner>, start: Offset, until: Offset) -> Vec<Owner> {
    let mut begins = start;
    let mut clipped = Vec::with_capacity(owners.len());
    for owner in owners {
        let is_before = begins < until;
        begins = owner.until;
        if is_before {
            clipped.push(Owner { until: owner.until.min(until), ..owner });
        }
    }
    clipped
}

/// The walk from the offset that a PUT named to the fork's beginning, through the parts of several owners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    granted: Box<Inheritance>,
    at: Offset,
    left: u64,
    asked: u64,
    /// Set if the PUT named a time that only the owners can find.
    search: Option<Search>,
}

/// The next step of the walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    There(Box<Inheritance>),
    /// Ask an owner: the path of its stream, and the call.
    Ask(String, Call),
}

impl Way {
    /// Starts the walk at the offset that the PUT named.
    pub fn of(granted: Box<Inheritance>, sub_offset: u64) -> Way {
        let since = granted.at.filter(|_| granted.until.is_none());
        let search = since.map(|since| Search::since(since, granted.start, granted.owners.clone()));
        Way { at: granted.anchor, granted, left: sub_offset, asked: sub_offset, search }
    }

    pub fn step(&mut self) -> Result<Step, ForkRefusal> {
        match self.search.as_mut().map(Search::step) {
            Some(SearchStep::Ask(path, seek)) => return Ok(Step::Ask(path, Call::Seek(seek))),
            Some(SearchStep::There(found)) => {
                self.granted.anchor = found;
                self.granted.until = Some(found);
            }
            None => {}
        }
        let granted = &self.granted;
        if let Some(until) = granted.until {
            let owners = owners_until(granted.owners.clone(), granted.start, until);
            let granted = Inheritance { until: Some(until), owners, ..(**granted).clone() };
            return Ok(Step::There(Box::new(granted)));
        }
        let owner = self.owner().ok_or(ForkRefusal::SubOffsetBeyond { max: self.asked - self.left })?;
        let walk = Walk {
            incarnation: owner.incarnation,
            from: self.at.shifted_back(owner.shift),
            until: owner.until.shifted_back(owner.shift),
            count: self.left,
        };
        Ok(Step::Ask(owner.path.clone(), Call::Walk(walk)))
    }

    /// Continues the search from an owner's answer.
    pub fn sought(&mut self, sought: Sought) {
        if let Some(search) = &mut self.search {
            search.answered(sought);
        }
    }

    /// Continues the walk from an owner's answer.
    pub fn walked(&mut self, walked: Walked) {
        let shift = self.owner().map_or(0, |owner| owner.shift);
        self.at = walked.at.shifted(shift);
        self.left = walked.left;
        if self.left == 0 {
            self.granted.until = Some(self.at);
        }
    }

    fn owner(&self) -> Option<&Owner> {
        self.granted.owners.iter().find(|owner| self.at < owner.until)
    }
}
