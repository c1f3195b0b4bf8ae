//! The feature gates of `--feature-gates`.

use super::value::parse_bool;
use std::fmt;

/// How settled a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off unless asked for.
    Alpha,
    /// On unless refused.
    Beta,
}

impl Stage {
    /// The word in help and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        }
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident: $stage:ident = $default:literal,)*) => {
        /// A feature that can be switched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Feature {
            $($(#[$doc])* $name,)*
        }

        impl Feature {
            /// All of them, in the order of their names.
            pub const ALL: &[Feature] = &[$(Feature::$name,)*];

            /// The name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Feature::$name => stringify!($name),)*
                }
            }

            /// How settled it is.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self {
                    $(Feature::$name => Stage::$stage,)*
                }
            }

            /// Whether it is on when nobody says anything.
            #[must_use]
            pub fn default_on(self) -> bool {
                match self {
                    $(Feature::$name => $default,)*
                }
            }
        }
    };
}

features! {
    /// Compare the hashes of compactions between members.
    CompactHashCheck: Alpha = false,
    /// Renew leases without waiting for the applied index.
    FastLeaseKeepAlive: Beta = true,
    /// Compare hashes with the other members before serving.
    InitialCorruptCheck: Alpha = false,
    /// Replicate what is left of the life of leases.
    LeaseCheckpoint: Alpha = false,
    /// Keep what `LeaseCheckpoint` replicates; always so since etcd 3.6.
    LeaseCheckpointPersist: Alpha = false,
    /// Let lease revocation pass when the member is overloaded.
    PriorityRequest: Alpha = false,
    /// Dial other members from the advertised address.
    SetMemberLocalAddr: Alpha = false,
    /// Report NOT_SERVING while a defragmentation runs.
    StopGRPCServiceOnDefrag: Alpha = false,
    /// The read phase of a writing transaction uses a shared buffer.
    TxnModeWriteWithSharedBuffer: Beta = true,
}

/// The gates as they were set; a gate that nobody set has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    set: [Option<bool>; Feature::ALL.len()],
    all_alpha: Option<bool>,
    all_beta: Option<bool>,
}

impl FeatureGates {
    /// Whether a feature is on.
    #[must_use]
    pub fn enabled(&self, feature: Feature) -> bool {
        let of_stage = match feature.stage() {
            Stage::Alpha => self.all_alpha,
            Stage::Beta => self.all_beta,
        };
        self.set[feature as usize].or(of_stage).unwrap_or(feature.default_on())
    }

    /// Switches one feature.
    #[must_use]
    pub fn with(mut self, feature: Feature, on: bool) -> Self {
        self.set[feature as usize] = Some(on);
        self
    }

    /// Adds the gates of a text such as `A=true,B=false`. A gate named explicitly wins over `AllAlpha` and `AllBeta`
    /// in whatever order they stand.
    ///
    /// # Errors
    /// etcd's text for an unknown gate or a value that is no bool.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim()),
                None => return Err(format!("missing bool value for {}", pair.trim())),
            };
            let on = parse_bool(value).map_err(|_| {
                format!("invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")
            })?;
            match name {
                "AllAlpha" => self.all_alpha = Some(on),
                "AllBeta" => self.all_beta = Some(on),
                _ => match Feature::ALL.iter().find(|feature| feature.name() == name) {
                    Some(feature) => self.set[*feature as usize] = Some(on),
                    None => return Err(format!("unrecognized feature gate: {name}")),
                },
            }
        }
        Ok(())
    }
}

/// The gates that were set, as `A=true,B=false`.
impl fmt::Display for FeatureGates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = [("AllAlpha", self.all_alpha), ("AllBeta", self.all_beta)];
        let features = Feature::ALL.iter().map(|feature| (feature.name(), self.set[*feature as usize]));
        let mut separator = "";
        for (name, value) in stages.into_iter().chain(features) {
            if let Some(on) = value {
                write!(f, "{separator}{name}={on}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_gate_wins_over_its_stage() {
        let mut gates = FeatureGates::default();
        gates.add("LeaseCheckpoint=false,AllAlpha=true").unwrap();
        assert!(!gates.enabled(Feature::LeaseCheckpoint));
        assert!(gates.enabled(Feature::PriorityRequest));
        assert!(gates.enabled(Feature::FastLeaseKeepAlive), "beta keeps its default");
        assert_eq!(gates.to_string(), "AllAlpha=true,LeaseCheckpoint=false");
    }

    #[test]
    fn refusals_are_etcds() {
        let refused = |text: &str| FeatureGates::default().add(text).unwrap_err();
        assert_eq!(refused("Nope=true"), "unrecognized feature gate: Nope");
        assert_eq!(refused("LeaseCheckpoint"), "missing bool value for LeaseCheckpoint");
        assert_eq!(
            refused("LeaseCheckpoint=maybe"),
            r#"invalid value of LeaseCheckpoint=maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax"#
        );
    }
}
