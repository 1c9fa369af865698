//! Placeholder face until the cron layer lands in this folder.
#[derive(Clone, Debug)]
pub struct Cron;
pub struct CronError {
    pub message: String,
    pub help: Option<String>,
    pub span: std::ops::Range<usize>,
}
pub struct CronWarning {
    pub message: String,
    pub help: Option<String>,
}
impl Cron {
    pub fn parse(_: &str, _: &str) -> Result<Cron, CronError> {
        Ok(Cron)
    }
    pub fn next_after(&self, _: jiff::Timestamp, _: &jiff::tz::TimeZone) -> Option<jiff::Timestamp> {
        None
    }
    pub fn words(&self) -> String {
        String::new()
    }
    pub fn warnings(&self) -> Vec<CronWarning> {
        Vec::new()
    }
}
