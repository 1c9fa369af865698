//! A broken `_defaults.yaml` never makes a job run without the defaults that it should have.

use crate::sandbox::Sandbox;
