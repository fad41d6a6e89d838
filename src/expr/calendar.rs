//! The proleptic Gregorian calendar over plain integers: no range, no panic. Algorithms: Howard Hinnant,
//! "chrono-Compatible Low-Level Date Algorithms".

/// A part of a date or time, as EXTRACT, FLOOR and TIMESTAMPADD name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl Unit {
    /// The unit of a name, in either case, singular or as `SQL_TSI_…`.
    pub(super) fn of(name: &str) -> Option<Self> {
        let upper = name.to_uppercase();
        Some(match upper.strip_prefix("SQL_TSI_").unwrap_or(&upper) {
            "YEAR" => Self::Year,
            "QUARTER" => Self::Quarter,
            "MONTH" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" => Self::Day,
            "DOW" => Self::DayOfWeek,
            "DOY" => Self::DayOfYear,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            "SECOND" => Self::Second,
            "MILLISECOND" => Self::Millisecond,
            _ => return None,
        })
    }

    /// Whether it is shorter than a day.
    pub(super) fn of_day(self) -> bool {
        matches!(self, Self::Hour | Self::Minute | Self::Second | Self::Millisecond)
    }

    /// How many months it has; none for units that are not counted in months.
    pub(super) fn months(self) -> Option<i64> {
        match self {
            Self::Year => Some(12),
            Self::Quarter => Some(3),
            Self::Month => Some(1),
            _ => None,
        }
    }

    /// How many milliseconds it has; none for units of months.
    pub(super) fn milliseconds(self) -> Option<i64> {
        match self {
            Self::Week => Some(7 * 86_400_000),
            Self::Day => Some(86_400_000),
            Self::Hour => Some(3_600_000),
            Self::Minute => Some(60_000),
            Self::Second => Some(1000),
            Self::Millisecond => Some(1),
            _ => None,
        }
    }
}

/// A day: year, month 1–12, day 1–31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "a day has a number, which is its day")]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    /// The day `days` after 1970-01-01.
    pub(super) fn of(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// How many days after 1970-01-01 it is.
    pub(super) fn days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let of_year = (153 * shifted_month + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    /// Whether the calendar has it.
    pub(super) fn exists(self) -> bool {
        (1..=12).contains(&self.month) && self.day >= 1 && self.day <= days_in_month(self.year, self.month)
    }

    /// The day so many months later; the last of the month where that has fewer days.
    pub(super) fn plus_months(self, months: i64) -> Self {
        let total = self.year * 12 + self.month - 1 + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        Self { year, month, day: self.day.min(days_in_month(year, month)) }
    }

    fn day_of_year(self) -> i64 {
        self.days() - Self { year: self.year, month: 1, day: 1 }.days() + 1
    }

    /// The ISO week of the year.
    fn week(self) -> i64 {
        // The week belongs to the year of its Thursday.
        let days = self.days();
        let thursday = Self::of(days - (days + 3).rem_euclid(7) + 3);
        (thursday.day_of_year() - 1) / 7 + 1
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A part of a time given as `ticks` since 1970-01-01T00:00:00, so many to the second.
pub(super) fn extract(unit: Unit, ticks: i64, per_second: i64) -> i64 {
    let days = ticks.div_euclid(86_400 * per_second);
    let of_day = ticks.rem_euclid(86_400 * per_second);
    match unit {
        Unit::Hour => of_day / (3600 * per_second),
        Unit::Minute => of_day / (60 * per_second) % 60,
        Unit::Second => of_day / per_second % 60,
        // Counted with its seconds, as the standard has it.
        Unit::Millisecond => of_day % (60 * per_second) / (per_second / 1000).max(1),
        _ => extract_of_day(unit, days),
    }
}

/// A part of the day `days` after 1970-01-01.
pub(super) fn extract_of_day(unit: Unit, days: i64) -> i64 {
    let day = Day::of(days);
    match unit {
        Unit::Year => day.year,
        Unit::Quarter => (day.month - 1) / 3 + 1,
        Unit::Month => day.month,
        Unit::Week => day.week(),
        Unit::Day => day.day,
        // 1970-01-01 was a Thursday; Sunday is 1.
        Unit::DayOfWeek => (days + 4).rem_euclid(7) + 1,
        Unit::DayOfYear => day.day_of_year(),
        _ => 0,
    }
}

/// The first day of the unit that the day lies in; weeks begin on Sunday.
pub(super) fn floor_day(unit: Unit, days: i64) -> i64 {
    let day = Day::of(days);
    match unit {
        Unit::Year => Day { month: 1, day: 1, ..day }.days(),
        Unit::Quarter => Day { month: (day.month - 1) / 3 * 3 + 1, day: 1, ..day }.days(),
        Unit::Month => Day { day: 1, ..day }.days(),
        Unit::Week => days - (days + 4).rem_euclid(7),
        _ => days,
    }
}

/// The first day of the unit after the one that the day lies in.
pub(super) fn next_day(unit: Unit, days: i64) -> i64 {
    let start = floor_day(unit, days);
    match (unit.months(), unit) {
        (Some(months), _) => Day::of(start).plus_months(months).days(),
        (None, Unit::Week) => start + 7,
        _ => start + 1,
    }
}

/// Whole months from one moment to another, toward zero; each is days and ticks of the day.
pub(super) fn months_between((from, from_rest): (i64, i64), (to, to_rest): (i64, i64)) -> i64 {
    let (a, b) = (Day::of(from), Day::of(to));
    let months = (b.year - a.year) * 12 + b.month - a.month;
    let landed = a.plus_months(months).days();
    let (over, under) = ((landed, from_rest) > (to, to_rest), (landed, from_rest) < (to, to_rest));
    if months > 0 && over {
        months - 1
    } else if months < 0 && under {
        months + 1
    } else {
        months
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_all_years() {
        for days in (-800_000..3_000_000).step_by(13) {
            assert_eq!(Day::of(days).days(), days);
            assert!(Day::of(days).exists());
        }
        assert_eq!(Day::of(0), Day { year: 1970, month: 1, day: 1 });
        assert_eq!(Day::of(19_782), Day { year: 2024, month: 2, day: 29 });
    }

    #[test]
    fn weeks_are_iso_weeks() {
        for (year, month, day, week) in
            [(2021, 1, 3, 53), (2021, 1, 4, 1), (2024, 12, 30, 1), (2026, 12, 31, 53)]
        {
            assert_eq!(Day { year, month, day }.week(), week, "{year}-{month}-{day}");
        }
    }
}
