//! Expressions in words, and the warnings.

use super::cron;

#[test]
fn words() {
    for (text, words) in [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("5-59/15 * * * *", "at minutes 5, 20, 35 and 50 of every hour"),
        ("0 * * * *", "every hour"),
        ("30 * * * *", "at minute 30 of every hour"),
        ("* 9-17 * * *", "every minute from 09:00 to 17:59"),
        ("*/15 9-17 * * mon-fri", "every 15 minutes from 09:00 to 17:45, Monday to Friday"),
        ("*/15 9 * * *", "every day at 09:00, 09:15, 09:30 and 09:45"),
        ("*/5 1,3 * * *", "every 5 minutes of hours 1 and 3"),
        ("*/5 9 * * *", "every 5 minutes from 09:00 to 09:55"),
        ("30 9-17 * * *", "every hour from 09:30 to 17:30"),
        ("0 */2 * * *", "every 2 hours from 00:00 to 22:00"),
        ("0 9 * * mon-fri", "Monday to Friday at 09:00"),
        ("0 9,17 * * *", "every day at 09:00 and 17:00"),
        ("5 4 * * sun", "Sunday at 04:05"),
        ("0 0 * * fri-sun", "Friday to Sunday at 00:00"),
        ("0 0 * * 1,3,5", "Monday, Wednesday and Friday at 00:00"),
        ("0 2 1 * *", "on day 1 of the month at 02:00"),
        ("0 2 1,15 * *", "on days 1 and 15 of the month at 02:00"),
        ("0 0 1 1 *", "on 1 January at 00:00"),
        ("0 0 1 1,7 *", "on day 1 of the month in January and July at 00:00"),
        ("0 9 * 6-8 *", "every day in June to August at 09:00"),
        ("*/5 * * 6 *", "every 5 minutes, in June"),
        ("0 0 13 * fri", "on day 13 of the month as well as Friday at 00:00"),
        (
            "0 0 */2 * fri",
            "on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month falling on Friday at 00:00",
        ),
        ("0 0 L * *", "on the last day of the month at 00:00"),
        ("0 0 L-1,L-3 * *", "on the day before the last and the day 3 days before the last of the month at 00:00"),
        ("0 0 15W * *", "on the weekday nearest to day 15 of the month at 00:00"),
        ("0 0 LW * *", "on the last weekday of the month at 00:00"),
        ("0 9 * * fri#2", "on the second Friday of the month at 09:00"),
        ("0 9 * * friL", "on the last Friday of the month at 09:00"),
        ("0 9 1-31 * mon", "every day at 09:00"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("* * * * * *", "every second"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("30 0 9 * * *", "every day at 09:00:30"),
        ("*/10 0 9 * * *", "every 10 seconds of minute 0 of hour 9"),
        ("5,7 * 9-10 * * *", "at seconds 5 and 7 of every minute of hours 9 and 10"),
        ("30 */5 * * * *", "at second 30 of minutes 0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50 and 55 of every hour"),
        ("0 0 9 * * *", "every day at 09:00"),
        ("1,7,9 1,9 * * *", "every day at 01:01, 01:07, 01:09, 09:01, 09:07 and 09:09"),
        ("1,7,9,11 1,9 * * *", "at minutes 1, 7, 9 and 11 of hours 1 and 9"),
        ("@weekly", "Sunday at 00:00"),
    ] {
        assert_eq!(cron(text).words(), words, "{text}");
    }
}

#[test]
fn warnings() {
    let warnings =
        |text: &str| -> Vec<String> { cron(text).warnings().into_iter().map(|warning| warning.message).collect() };
    assert_eq!(warnings("0 0 9 * * *"), ["six fields put seconds first; this means: every day at 09:00"]);
    assert_eq!(
        warnings("0 0 */10 * fri"),
        [
            "the day-of-month field begins with `*`, so a date must satisfy both: on days 1, 11, 21 and 31 of the month falling on Friday"
        ]
    );
    assert_eq!(
        warnings("0 0 13 * */3"),
        [
            "the day-of-week field begins with `*`, so a date must satisfy both: on day 13 of the month falling on Wednesday, Saturday and Sunday"
        ]
    );
    assert_eq!(warnings("0 0 */10 * */3").len(), 1);
    for quiet in ["0 0 13 * fri", "0 0 * * fri", "0 0 */2 * *", "0 0 */2 * ?", "0 0 13 * *", "@daily"] {
        assert!(warnings(quiet).is_empty(), "{quiet}");
    }
}
