//! Dates, times and intervals as text in PostgreSQL's ISO style, over the whole range of the types.

use bytes::{BufMut, BytesMut};

pub(crate) const DAY_US: i64 = 86_400_000_000;
const SECOND_US: i64 = 1_000_000;
/// Days from 1970-01-01 to PostgreSQL's own day zero, 2000-01-01.
pub(crate) const POSTGRES_EPOCH_DAYS: i64 = 10_957;
pub(crate) const POSTGRES_EPOCH_US: i64 = POSTGRES_EPOCH_DAYS * DAY_US;

/// Year (astronomical: 0 is 1 BC), month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
pub(crate) fn civil_from_days(days: i64) -> (i64, u8, u8) {
    // Years are counted from March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

/// The inverse of [`civil_from_days`]; the day must exist.
pub(crate) fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub(crate) fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns whether the year is before Christ; the mark goes behind everything else.
fn put_ymd(output: &mut BytesMut, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year };
    if shown < 10_000 {
        put_two(output, shown / 100);
        put_two(output, shown % 100);
    } else {
        output.put_slice(itoa::Buffer::new().format(shown).as_bytes());
    }
    output.put_u8(b'-');
    put_two(output, i64::from(month));
    output.put_u8(b'-');
    put_two(output, i64::from(day));
    before_christ
}

/// 0 to 99.
fn put_two(output: &mut BytesMut, n: i64) {
    let n = n as u8;
    output.put_slice(&[b'0' + n / 10, b'0' + n % 10]);
}

/// `:SS` is not padded here; `us` is below a minute. The fraction has no trailing zeros.
fn put_seconds(output: &mut BytesMut, us: i64) {
    put_two(output, us / SECOND_US);
    let mut fraction = us % SECOND_US;
    if fraction != 0 {
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        let length = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        output.put_u8(b'.');
        output.put_slice(&digits[..length]);
    }
}

/// `us` since midnight; 24:00:00 is a value of the type.
pub(crate) fn put_time(output: &mut BytesMut, us: i64) {
    put_two(output, us / (3_600 * SECOND_US));
    output.put_u8(b':');
    put_two(output, us / (60 * SECOND_US) % 60);
    output.put_u8(b':');
    put_seconds(output, us % (60 * SECOND_US));
}

pub(crate) fn put_date(output: &mut BytesMut, days: i64) {
    if put_ymd(output, days) {
        output.put_slice(b" BC");
    }
}

pub(crate) fn put_timestamp(output: &mut BytesMut, us: i64) {
    put_wall(output, us, None);
}

/// The instant `us` in a zone that is `offset` seconds east.
pub(crate) fn put_timestamptz(output: &mut BytesMut, us: i64, offset: i32) {
    put_wall(output, us, Some(offset));
}

fn put_wall(output: &mut BytesMut, us: i64, offset: Option<i32>) {
    // Days and time apart, so that the sum cannot overflow at the ends of the range.
    let time = us.rem_euclid(DAY_US) + i64::from(offset.unwrap_or(0)) * SECOND_US;
    let days = us.div_euclid(DAY_US) + time.div_euclid(DAY_US);
    let before_christ = put_ymd(output, days);
    output.put_u8(b' ');
    put_time(output, time.rem_euclid(DAY_US));
    if let Some(offset) = offset {
        output.put_u8(if offset < 0 { b'-' } else { b'+' });
        let offset = i64::from(offset.abs());
        put_two(output, offset / 3_600);
        if offset % 3_600 != 0 {
            output.put_u8(b':');
            put_two(output, offset / 60 % 60);
        }
        if offset % 60 != 0 {
            output.put_u8(b':');
            put_two(output, offset % 60);
        }
    }
    if before_christ {
        output.put_slice(b" BC");
    }
}

/// The style `postgres`: `1 year 2 mons -3 days +04:05:06.7`.
pub(crate) fn put_interval(output: &mut BytesMut, months: i32, days: i32, us: i64) {
    let mut first = true;
    let mut negative_before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if !first {
            output.put_u8(b' ');
        }
        if negative_before && value > 0 {
            output.put_u8(b'+');
        }
        output.put_slice(itoa::Buffer::new().format(value).as_bytes());
        output.put_u8(b' ');
        output.put_slice(unit.as_bytes());
        if value != 1 {
            output.put_u8(b's');
        }
        negative_before = value < 0;
        first = false;
    }
    if first || us != 0 {
        if !first {
            output.put_u8(b' ');
        }
        if us < 0 {
            output.put_u8(b'-');
        } else if negative_before {
            output.put_u8(b'+');
        }
        let us = us.unsigned_abs();
        let hours = us / (3_600 * SECOND_US as u64);
        if hours < 100 {
            put_two(output, hours as i64);
        } else {
            output.put_slice(itoa::Buffer::new().format(hours).as_bytes());
        }
        output.put_u8(b':');
        put_two(output, (us / (60 * SECOND_US as u64) % 60) as i64);
        output.put_u8(b':');
        put_seconds(output, (us % (60 * SECOND_US as u64)) as i64);
    }
}
