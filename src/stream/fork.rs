//! Forks (PROTOCOL.md 4.2): what a fork inherits, and the walk to where it leaves its source.

use serde::{Deserialize, Serialize};

use crate::protocol::fork::{ForkRequest, Inheritance, Owner, Walk, Walked};
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;

/// What a fork knows of its source. All offsets are the fork's own, except the anchor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// The name of the link to the source.
    #[serde(rename = "edge")]
    pub link: String,
    /// The path of the source.
    pub source: String,
    /// The offset that the PUT named, in the source's offsets.
    pub anchor: Offset,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// Whether the PUT set the lifetime; else it is the source's.
    pub own_lifetime: bool,
    /// Where its inherited part begins.
    pub start: Offset,
    /// Where its own part begins.
    pub own_start: Offset,
    /// The owners of the bytes in between, in order.
    pub owners: Vec<Owner>,
}

impl Fork {
    /// The fork of a source that has granted it. At a URL that had a stream before, segment numbers continue the old ones: an
    /// offset of that stream must never become one of this.
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
            own_lifetime,
            start: granted.start.shifted(shift),
            own_start: until.shifted(shift),
            owners: granted.owners.iter().map(shifted).collect(),
        }
    }

    /// Whether a PUT asks for this fork. A PUT without an offset accepts any.
    pub fn is_asked_for_by(&self, request: &ForkRequest) -> bool {
        self.source == request.source.as_str()
            && self.sub_offset == request.sub_offset
            && request.offset.is_none_or(|offset| offset == self.anchor)
    }

    /// Notes that an owner's segments before this one have gone to the bucket.
    pub fn owner_rotated(&mut self, path: &str, hot_from: u64) {
        for owner in self.owners.iter_mut().filter(|owner| owner.path == path) {
            owner.hot_from = owner.hot_from.max(hot_from);
        }
    }

    /// The owner of the bytes at an offset of the inherited part.
    pub fn owner_at(&self, offset: Offset) -> Option<&Owner> {
        self.owners.iter().find(|owner| offset < owner.until)
    }
}

/// Those of some owners' parts that are before an offset.
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

/// The way from the offset that a PUT named to where the fork leaves its source, through parts of other owners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    granted: Box<Inheritance>,
    at: Offset,
    left: u64,
    asked: u64,
}

/// The next step on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    There(Box<Inheritance>),
    /// An owner has to be asked: the path of its stream, and the call.
    Ask(String, Walk),
}

impl Way {
    /// Begins at the offset that the PUT named.
    pub fn of(granted: Box<Inheritance>, sub_offset: u64) -> Way {
        Way { at: granted.anchor, granted, left: sub_offset, asked: sub_offset }
    }

    pub fn step(&self) -> Result<Step, ForkRefusal> {
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
        Ok(Step::Ask(owner.path.clone(), walk))
    }

    /// Continues from the place that an owner answers.
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
