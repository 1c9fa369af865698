/// Makes one enum of all kinds of a thing from the one list of them, and declares their files.
///
/// An entry `file::Type = "key"` names a file beside the list, the type in it, and its key in job files. The type has serde's
/// traits and `JsonSchema`, and implements the trait that the list names.
macro_rules! kinds {
    (
        $(#[$doc:meta])*
        $name:ident: $kind:ident { $($file:ident :: $type:ident = $key:literal),+ $(,)? }
    ) => {
        $(mod $file; pub use $file::$type;)+

        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name { $($type($type)),+ }

        impl $name {
            /// The keys of all kinds in job files, in the order in which they are shown.
            pub const KEYS: &'static [&'static str] = &[$($key),+];

            /// This one's key in job files.
            pub fn key(&self) -> &'static str {
                match self { $(Self::$type(_) => $key),+ }
            }

            /// What `key: value` says; `None` if no kind has this key.
            pub fn from_value(key: &str, value: serde_json::Value) -> Option<serde_json::Result<Self>> {
                match key {
                    $($key => Some(serde_json::from_value(value).map(Self::$type)),)+
                    _ => None,
                }
            }

            /// Whether `${NAME}` is filled in below this key; `None` if no kind has it.
            pub fn expands_environment(key: &str) -> Option<bool> {
                match key {
                    $($key => Some(<$type as $kind>::expands_environment()),)+
                    _ => None,
                }
            }

            /// What stands behind the key in job files.
            pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$type(value) => serde_json::to_value(value)),+ }
            }

            /// The schema of what stands behind each key.
            pub fn schemas(generator: &mut schemars::SchemaGenerator) -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($key, <$type as schemars::JsonSchema>::json_schema(generator))),+]
            }

            /// The value, as what every kind can do.
            fn kind(&self) -> &dyn $kind {
                match self { $(Self::$type(value) => value),+ }
            }
        }
    };
}

pub(crate) use kinds;
