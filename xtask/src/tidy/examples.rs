//! The documentation of the client is its manual: it shows how every public item is used.

use super::source;
use regex::Regex;
use std::sync::LazyLock;

const CLIENT: &str = "crates/tenure-client/src/";

static ITEM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*pub (?:const )?(?:async )?(?:fn|struct|enum|trait|type) (\w+)")
        .expect("a constant pattern compiles")
});
static TRAIT_METHOD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^    (?:async )?fn (\w+)").expect("a constant pattern compiles"));
/// A macro that makes items of what is documented in its braces, such as options.
static INVOCATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(\s*)\w+! \{").expect("a constant pattern compiles"));
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(\w+)\(").expect("a constant pattern compiles"));

/// What stands above an item.
#[derive(Default)]
struct Above {
    is_documented: bool,
    has_example: bool,
    /// It is documented where a macro is invoked.
    is_from_macro: bool,
    is_in_attribute: bool,
}

impl Above {
    /// Takes a line in; false if it is not documentation or an attribute.
    fn take(&mut self, line: &str) -> bool {
        let line = line.trim();
        if self.is_in_attribute {
            self.is_in_attribute = !line.ends_with(")]");
        } else if let Some(text) = line.strip_prefix("///") {
            self.is_documented = true;
            self.has_example |= text.trim().starts_with("```");
        } else if line.starts_with("#[") {
            self.is_in_attribute = !line.ends_with(']');
        } else if line.contains("$(#[$") {
            self.is_from_macro = true;
            return !line.ends_with('{');
        } else {
            return false;
        }
        true
    }
}

/// Public items of the client that no example shows. Fields and variants need none; what only the crate uses says `pub(crate)`.
pub fn missing(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with(CLIENT) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut above = Above::default();
    let mut is_in_trait = false;
    // The brace that ends the invocation of a macro.
    let mut invocation_end: Option<String> = None;
    for (number, line) in source::without_tests(path, text).into_iter().enumerate() {
        if above.take(line) {
            continue;
        }
        let above = std::mem::take(&mut above);
        let name = match ITEM.captures(line) {
            Some(item) => Some(item),
            None if is_in_trait => TRAIT_METHOD.captures(line),
            None if invocation_end.is_some() && above.is_documented => NAME.captures(line),
            None => None,
        };
        if let Some(name) = name.filter(|_| !above.has_example && !above.is_from_macro) {
            faults.push(format!(
                "{path}:{}: {} without an example: show in its documentation how it is used",
                number + 1,
                &name[1]
            ));
        }
        is_in_trait = line.starts_with("pub trait ") || is_in_trait && line != "}";
        if let Some(invocation) = INVOCATION.captures(line) {
            invocation_end = Some(format!("{}}}", &invocation[1]));
        } else if invocation_end.as_deref().is_some_and(|end| line.starts_with(end)) {
            invocation_end = None;
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the items that are found.
    fn found(text: &str) -> Vec<String> {
        let faults = missing("crates/tenure-client/src/lib.rs", text);
        let name = |fault: &String| fault.split(' ').nth(1).map(str::to_owned);
        faults.iter().filter_map(name).collect()
    }

    #[test]
    fn items_without_an_example_are_found() {
        let text = "\
/// A thing.
#[derive(
    Clone,
)]
pub struct Thing {
    /// A field.
    pub field: u8,
}

/// Kinds.
pub enum Kind {
    /// One.
    One(u8),
}

impl Thing {
    /// Makes one.
    pub fn new() -> Self {
    }

    pub async fn undocumented(&self) {}

    pub(crate) fn internal(&self) {}

    fn private(&self) {}
}
";
        assert_eq!(found(text), ["Thing", "Kind", "new", "undocumented"]);
        assert_eq!(missing("crates/tenure-server/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn an_example_is_enough_wherever_it_stands() {
        let text = "\
/// A thing.
///
/// ```no_run
/// thing();
/// ```
///
/// # Errors
/// None.
#[must_use]
pub fn thing() {}

/// A neighbour.
pub fn neighbour() {}
";
        assert_eq!(found(text), ["neighbour"]);
    }

    #[test]
    fn methods_of_public_traits_are_items() {
        let text = "\
/// ```
/// ```
pub trait Shown {
    /// Nothing to see.
    fn shown(&self) -> u8;
}

trait Hidden {
    fn hidden(&self);
}

impl Shown for u8 {
    fn shown(&self) -> u8 {
    }
}
";
        assert_eq!(found(text), ["shown"]);
    }

    #[test]
    fn items_that_macros_make_are_shown_where_they_are_made() {
        let text = "\
macro_rules! options {
    ($($(#[$doc:meta])* $option:ident();)*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $option(mut self) -> Self {
        }
    };
}

options! { Get {
    /// ```
    /// ```
    prefix() |get| { get.prefix(); }

    /// Without.
    limit(keys: u32) |get| { get.limit(keys); }
} }

impl Call {
    options! {
        /// Without.
        sort(order: Order);
    }

    /// Without.
    fn private(&self) {
        call(1);
    }
}
";
        assert_eq!(found(text), ["limit", "sort"]);
    }

    #[test]
    fn tests_are_not_part_of_the_manual() {
        let text = "#[cfg(test)]\nmod tests {\n    pub fn support() {}\n}\n";
        assert_eq!(found(text), [""; 0]);
    }
}
