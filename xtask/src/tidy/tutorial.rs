//! What the tutorial shows is what the examples do.

/// Blocks of Rust in a document that stand in none of the examples, indentation aside.
pub fn blocks(path: &str, document: &str, examples: &[String]) -> Vec<String> {
    let examples: Vec<String> = examples.iter().map(|text| flat(text.lines())).collect();
    let mut faults = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() != "```rust" {
            continue;
        }
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
        let block = flat(block.into_iter());
        if !examples.iter().any(|example| example.contains(&block)) {
            faults.push(format!("{path}:{}: this code is in no example", number + 1));
        }
    }
    faults
}

fn flat<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_in_no_example_is_found() {
        let examples = ["fn main() {\n    a();\n    b();\n}\n".to_owned()];
        let document = |code: &str| format!("text\n\n```rust\n{code}\n```\n\n```console\n$ x\n```\n");
        assert!(blocks("t.md", &document("a();\nb();"), &examples).is_empty());
        assert_eq!(
            blocks("t.md", &document("a();\nc();"), &examples),
            ["t.md:3: this code is in no example"]
        );
    }
}
