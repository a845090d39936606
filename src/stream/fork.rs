//! Forks (PROTOCOL.md 4.2): what a stream inherits, and what a fork of it would.

use serde::{Deserialize, Serialize};

use crate::protocol::fork::{ForkRequest, Inheritance, Owner, Walk, Walked};
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;

/// What a stream that is a fork knows of its source; all offsets but the anchor are as the fork counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// The name of what holds the source.
    #[serde(rename = "edge")]
    pub link: String,
    /// The path of the source.
    pub source: String,
    /// The offset at which it was asked for, as the source counts.
    pub anchor: Offset,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// Whether its lifetime was asked for, and is not the source's.
    pub own_lifetime: bool,
    /// Where its inherited part begins.
    pub start: Offset,
    /// Where its own part begins.
    pub own_start: Offset,
    /// Whose the bytes in between are, in order.
    pub owners: Vec<Owner>,
}

impl Fork {
    /// Of what a source grants. A URL that had a stream before counts its segments on: an offset of that stream must never
    /// become one of this.
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

    /// Whether a PUT asks for this fork. Whoever names no offset takes the one there is.
    pub fn is_asked_for_by(&self, request: &ForkRequest) -> bool {
        self.source == request.source.as_str()
            && self.sub_offset == request.sub_offset
            && request.offset.is_none_or(|offset| offset == self.anchor)
    }

    /// An owner's segments before this one have gone to the bucket.
    pub fn owner_rotated(&mut self, path: &str, hot_from: u64) {
        for owner in self.owners.iter_mut().filter(|owner| owner.path == path) {
            owner.hot_from = owner.hot_from.max(hot_from);
        }
    }

    /// The owner of what is at an offset of the inherited part.
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

/// The way from where a fork was asked for to where it leaves its source, through what others own.
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
    /// Somebody has to be asked: which stream, and what.
    Ask(String, Walk),
}

impl Way {
    /// Begins where the fork was asked for.
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

    /// Goes on from where an owner says that it leads.
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
