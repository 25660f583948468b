//! Days and microseconds of the proleptic Gregorian calendar.

use crate::column_reader::{BadValue, MICROSECONDS_A_DAY};

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar; None where the calendar has no such day.
pub(crate) fn days_since_1970(year: i32, month: u32, day: u32) -> Option<i32> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month as i32 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Days from 1970-01-01 to a day as a database writes it.
pub(crate) fn calendar_day(year: u16, month: u8, day: u8) -> Result<i32, BadValue> {
    if (year, month, day) == (0, 0, 0) {
        return Err(BadValue::new("a zero date"));
    }
    if month == 0 || day == 0 {
        return Err(BadValue::new("a date with a zero month or day"));
    }
    days_since_1970(year.into(), month.into(), day.into())
        .ok_or_else(|| BadValue::new("a date that the calendar does not have"))
}

/// Microseconds from 1970-01-01 to a time of the day `days`.
pub(crate) fn microseconds(days: i32, hour: i64, minute: i64, second: i64, micro: u32) -> Result<i64, BadValue> {
    if hour > 23 || minute > 59 || second > 59 || micro > 999_999 {
        return Err(BadValue::malformed());
    }
    Ok(i64::from(days) * MICROSECONDS_A_DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micro))
}

/// The day and the microseconds of it that a text means: `2024-02-29`, `2024-02-29 12:30:00` or with up to six decimals.
pub(crate) fn point_in_time(text: &[u8]) -> Result<(i32, i64), BadValue> {
    let wrong = || BadValue::new("text that is not a date or timestamp");
    let number = |digits: &[u8]| -> Result<u32, BadValue> {
        digits.iter().try_fold(0_u32, |sum, digit| match digit {
            b'0'..=b'9' => Ok(sum * 10 + u32::from(digit - b'0')),
            _ => Err(wrong()),
        })
    };
    let (date, time) = text.split_at_checked(10).ok_or_else(wrong)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else { return Err(wrong()) };
    let year = u16::try_from(number(&[y0, y1, y2, y3])?).map_err(|_| wrong())?;
    let day = calendar_day(year, number(&[m0, m1])? as u8, number(&[d0, d1])? as u8)?;
    let (time, fraction) = match time {
        [] => return Ok((day, 0)),
        [b' ' | b'T', time @ ..] => time.split_at_checked(8).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let [h0, h1, b':', n0, n1, b':', s0, s1] = *time else { return Err(wrong()) };
    let micro = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => number(digits)? * 10_u32.pow(6 - digits.len() as u32),
        _ => return Err(wrong()),
    };
    let of_day =
        microseconds(0, number(&[h0, h1])?.into(), number(&[n0, n1])?.into(), number(&[s0, s1])?.into(), micro)
            .map_err(|_| wrong())?;
    Ok((day, of_day))
}

#[cfg(test)]
mod tests {
    use super::days_since_1970;

    #[test]
    fn days_follow_the_calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), Some(0));
        assert_eq!(days_since_1970(1, 1, 1), Some(-719_162));
        assert_eq!(days_since_1970(9999, 12, 31), Some(2_932_896));
        assert_eq!(days_since_1970(2000, 2, 29), Some(11_016));
        assert_eq!(days_since_1970(1900, 2, 29), None);
        assert_eq!(days_since_1970(2024, 0, 10), None);
        assert_eq!(days_since_1970(2024, 10, 0), None);
        assert_eq!(days_since_1970(0, 0, 0), None);
    }
}
