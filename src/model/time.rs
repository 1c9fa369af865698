use jiff::Timestamp;

/// A time as every record, page and JSON document says it: RFC 3339 in UTC with milliseconds.
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// For `#[serde(with = "serde_rfc3339")]`: a time as [`rfc3339`] says it.
pub mod serde_rfc3339 {
    use std::borrow::Cow;
    use std::fmt;

    use jiff::Timestamp;
    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads the text where it stands: a ledger has a million of them.
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time as of RFC 3339")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
            text.parse().map_err(E::custom)
        }
    }

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(Text)
    }

    /// The same for a time that can be absent (`null`).
    pub mod option {
        use super::*;

        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Option::<Cow<str>>::deserialize(deserializer)?
                .map(|text| text.parse().map_err(D::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_milliseconds_always() {
        let time = jiff::Timestamp::from_millisecond(1_705_309_205_000).unwrap();
        assert_eq!(super::rfc3339(time), "2024-01-15T09:00:05.000Z");
        assert_eq!(super::rfc3339(time + jiff::SignedDuration::from_micros(1_999)), "2024-01-15T09:00:05.001Z");
    }
}
