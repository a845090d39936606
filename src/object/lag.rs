//! How far the registry and the segment index are behind the stream, for its description and its data points.

use super::ports::Settings;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::details::LagDetails;
use crate::protocol::registry::Registries;
use crate::storage::{Failure, Sql};

/// How long the registry and the index have been behind, in milliseconds; 0 if they are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lags {
    pub registry: Millis,
    pub index: Millis,
}

impl Object {
    /// Both lags. They read up to three rows, and only while there may be anything to send.
    pub fn lags(&self, sql: &dyn Sql, now: Millis) -> Result<Lags, Failure> {
        let lag = |behind: Option<LagDetails>| {
            let since = behind.and_then(|behind| behind.behind_since);
            since.map_or(0, |since| now.saturating_sub(since))
        };
        Ok(Lags { registry: lag(self.registry_lag(sql)?), index: lag(self.index_lag(sql)?) })
    }

    pub(super) fn registry_lag(&self, sql: &dyn Sql) -> Result<Option<LagDetails>, Failure> {
        let registries = self.settings.registries;
        if registries == Registries::Off {
            return Ok(None);
        }
        Ok(Some(self.lag(self.reports.behind_since(sql, registries)?, self.reports.error())))
    }

    pub(super) fn index_lag(&self, sql: &dyn Sql) -> Result<Option<LagDetails>, Failure> {
        if !self.settings.has_index {
            return Ok(None);
        }
        Ok(Some(self.lag(self.index.behind_since(sql)?, self.index.error())))
    }

    /// The owners of a project are not the operator, so they do not see causes.
    fn lag(&self, behind_since: Option<Millis>, error: Option<&str>) -> LagDetails {
        let Settings { registries, guarded, .. } = self.settings;
        let is_operators = registries == Registries::One || !guarded;
        let error = error.filter(|_| is_operators && behind_since.is_some()).map(str::to_owned);
        LagDetails { behind_since, error }
    }
}
