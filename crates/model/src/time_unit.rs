//! The units of calendar time that models name.

/// A unit of time; finer ones are less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeUnit {
    Second,
    Minute,
    Hour,
    Day,
    /// From Monday.
    Week,
    Month,
    Quarter,
    Year,
}

impl TimeUnit {
    /// By its lower-case name, one or several.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.strip_suffix('s').unwrap_or(name) {
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TimeUnit;
    use crate::interval::PREDEFINED_GRANULARITIES;

    #[test]
    fn every_predefined_granularity_is_a_unit_from_the_finest_to_the_coarsest() {
        let units: Vec<TimeUnit> =
            PREDEFINED_GRANULARITIES.iter().filter_map(|granularity| TimeUnit::named(granularity)).collect();
        assert_eq!(units.len(), PREDEFINED_GRANULARITIES.len());
        assert!(units.is_sorted());
        assert_eq!(TimeUnit::named("weeks"), Some(TimeUnit::Week));
        assert_eq!(TimeUnit::named("weekss"), None);
        assert_eq!(TimeUnit::named("fortnight"), None);
    }
}
