use std::fmt;

/// The value of a secret: bytes that nothing prints.
///
/// Neither comparable nor writable as text or JSON, so that it comes into no record by accident; whoever needs the bytes asks
/// for them by name.
#[derive(Clone)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves: for the command, and for the mask.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let value = SecretValue::new(b"hunter2".to_vec());
        assert_eq!(format!("{value:?} {:#?}", Some(&value)), "*** Some(\n    ***,\n)");
        assert_eq!(value.reveal(), b"hunter2");
    }
}
