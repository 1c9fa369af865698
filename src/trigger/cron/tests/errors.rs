//! Every refusal: what it says, what it points at, what it suggests.

use super::super::Cron;

#[track_caller]
fn refused(text: &str, message: &str, at: &str, help: &str) {
    let error = Cron::parse(text, "job").expect_err(text);
    assert_eq!(error.message, message, "{text:?}");
    assert_eq!(text.get(error.span.clone()), Some(at), "{text:?} {error:?}");
    let given = error.help.unwrap_or_default();
    assert!(given.contains(help) && given.is_empty() == help.is_empty(), "{text:?}: {given:?}");
}

#[test]
fn numbers_out_of_range() {
    refused("61 * * * *", "minute 61 is outside 0-59", "61", "");
    refused("0 24 * * *", "hour 24 is outside 0-23", "24", "");
    refused("0 0 0 * *", "day of month 0 is outside 1-31", "0", "");
    refused("0 0 1-32 * *", "day of month 32 is outside 1-31", "32", "");
    refused("0 0 * 13 *", "month 13 is outside 1-12", "13", "");
    refused("0 0 * * 1,8", "day of week 8 is outside 0-7", "8", "");
    refused("60 * * * * *", "second 60 is outside 0-59", "60", "");
    let long = "9".repeat(40);
    let shown = format!("minute {}… is outside 0-59", "9".repeat(24));
    refused(&format!("{long} * * * *"), &shown, &long, "");
}

#[test]
fn words_that_are_no_numbers() {
    refused("0 9 * * mun", "unknown day name \"mun\"", "mun", "did you mean mon?");
    refused("0 9 * * mon-Friday", "unknown day name \"Friday\"", "Friday", "did you mean fri?");
    refused("0 9 * * xyz", "unknown day name \"xyz\"", "xyz", "names are sun, mon");
    refused("0 9 * jnu *", "unknown month name \"jnu\"", "jnu", "did you mean jun?");
    refused("x * * * *", "minute \"x\" is not a number", "x", "");
    refused("ü * * * *", "minute \"ü\" is not a number", "ü", "");
    refused("0 ? * * *", "hour \"?\" is not a number", "?", "write `*`");
    refused("*5 * * * *", "minute \"*5\" is not a number", "*5", "`*/5`");
    refused("0 9 * * tül", "unknown day name \"tül\"", "tül", "names are");
    refused("1,,2 * * * *", "minute is missing a value", "", "");
    refused("0 1, * * *", "hour is missing a value", "", "");
    refused("-5 * * * *", "minute range \"-5\" lacks a value on one side", "-5", "1-5");
    refused("1-2-3 * * * *", "minute \"2-3\" is not a number", "2-3", "");
    refused("+5 * * * *", "minute \"+5\" is not a number", "+5", "");
}

#[test]
fn ranges_that_run_backwards() {
    refused("0 17-9 * * *", "hour range 17-9 runs backwards", "17-9", "write \"17-23,0-9\"");
    refused("0 0 * * fri-mon", "day of week range fri-mon runs backwards", "fri-mon", "fri-sat,sun-mon");
    refused("0 0 * * 5-1", "day of week range 5-1 runs backwards", "5-1", "write \"5-6,0-1\"");
    refused("0 0 * * 7-2", "day of week range 7-2 runs backwards", "7-2", "write \"0-2\"");
    refused("0 0 * * 5-0", "day of week range 5-0 runs backwards", "5-0", "write \"5-7\"");
    refused("0 0 * nov-feb *", "month range nov-feb runs backwards", "nov-feb", "nov-dec,jan-feb");
    refused("0 0 28-3 * *", "day of month range 28-3 runs backwards", "28-3", "28-31,1-3");
}

#[test]
fn steps() {
    refused("*/0 * * * *", "minute step 0 is outside 1-59", "0", "");
    refused("*/90 * * * *", "minute step 90 is outside 1-59", "90", "`every:`");
    refused("0 */24 * * *", "hour step 24 is outside 1-23", "24", "`every:`");
    refused("*/x * * * *", "minute step \"x\" is not a number", "x", "");
    refused("*/ * * * *", "minute step \"\" is not a number", "", "");
    refused("*/5/5 * * * *", "minute step \"5/5\" is not a number", "5/5", "");
}

#[test]
fn the_number_of_fields() {
    refused("0 9 * *", "expected 5 or 6 fields, found 4", "0 9 * *", "minute hour");
    refused(" 0 9 ", "expected 5 or 6 fields, found 2", "0 9", "minute hour");
    refused("", "expected 5 or 6 fields, found 0", "", "minute hour");
    refused("0 0 9 * * ? 2024 x", "expected 5 or 6 fields, found 8", "2024 x", "no year");
    refused("TZ=UTC 0 9 * * * *", "a cron expression sets no variable", "TZ=UTC", "`timezone:");
    refused("CRON_TZ=UTC 0 9 * * *", "a cron expression sets no variable", "CRON_TZ=UTC", "`timezone:");
}

#[test]
fn macros() {
    refused("@reboot", "`@reboot` is not a time", "@reboot", "use `on_start: true`");
    refused("@every 5m", "`@every` is not a cron macro", "@every", "`every: 5m`");
    refused(" @dayly", "unknown macro `@dayly`", "@dayly", "did you mean @daily?");
    refused("@foo", "unknown macro `@foo`", "@foo", "@hourly, @daily, @midnight");
    refused("@daily 5  x", "`@daily` stands alone", "5  x", "");
}

#[test]
fn day_forms() {
    refused("0 0 * * L", "L in the day-of-week field needs a day", "L", "friL");
    refused("0 0 W * *", "W needs a day of month", "W", "15W");
    refused("0 0 32W * *", "day of month 32 is outside 1-31", "32", "");
    refused("0 0 L-31 * *", "days before the last 31 is outside 1-30", "31", "");
    refused("0 0 L-3W * *", "days before the last \"3W\" is not a number", "3W", "");
    refused("0 0 * * fri#6", "occurrence of a day in the month 6 is outside 1-5", "6", "fri#2");
    refused("0 0 * * 8#1", "day of week 8 is outside 0-7", "8", "");
    refused("0 0 * * mon-friL", "unknown day name \"friL\"", "friL", "did you mean fri?");
    refused("0 L * * *", "hour \"L\" is not a number", "L", "");
}

#[test]
fn hashes() {
    refused("H/1 * * * *", "minute step 1 after H has two meanings", "H/1", "* for every value");
    refused("H(0-9)/20 * * * *", "minute step 20 is wider than the range 0-9", "H(0-9)/20", "H for one");
    refused("H(9-0) * * * *", "minute range 9-0 runs backwards", "9-0", "9-59,0-0");
    refused("H(0-60) * * * *", "minute 60 is outside 0-59", "60", "");
    refused("H(5) * * * *", "minute \"H(5)\" is not a hash range", "(5)", "H(0-29)");
    refused("H(0-5 * * * *", "minute \"H(0-5\" is not a hash range", "(0-5", "H(0-29)");
}

#[test]
fn dates_that_never_come() {
    let never = |text, at, help| refused(text, "never comes due", at, help);
    never("0 0 30 2 *", "30 2 *", "no year has such a date: on 30 February");
    never(" 0 0 31 4 * ", "31 4 *", "on 31 April");
    never("0 0 0 31 4,6,9,11 *", "31 4,6,9,11 *", "day 31");
    never("0 0 30,31 feb ?", "30,31 feb ?", "days 30 and 31");
    never("0 0 L-30 4 *", "L-30 4 *", "30 days before");
    never("0 0 31W 6 *", "31W 6 *", "nearest");
    never("0 0 */30 2 tue#2", "*/30 2 tue#2", "second Tuesday");
    for fine in ["0 0 29 2 *", "0 0 29 2 mon", "0 0 30 2 mon", "0 0 29 2 */7", "0 0 L-28 2 *", "0 0 */28 2 tue#5"] {
        assert!(Cron::parse(fine, "job").is_ok(), "{fine}");
    }
}
