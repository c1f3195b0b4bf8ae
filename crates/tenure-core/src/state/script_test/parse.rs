//! The language of the scripts.
//!
//! ```text
//! put KEY [VALUE] [lease=N] [prev_kv] [ignore_value] [ignore_lease]
//! get RANGE [limit=N] [rev=N] [order=asc|desc] [sort=key|version|create|mod|value] [keys_only] [count_only]
//!           [min_mod=N] [max_mod=N] [min_create=N] [max_create=N]
//! del RANGE [prev_kv]
//! txn [if COMPARE , ...] [then OP ; ...] [else OP ; ...]       within another one: ( txn ... )
//! COMPARE: version|create|mod|value|lease|unknown RANGE =|!=|<|>|~ OPERAND
//! RANGE: a (one key), a..c, a.. (open), .. (everything)
//! ```
//! A word `""` is the empty string.

use crate::command::{
    Compare, CompareResult, CompareTarget, DeleteRange, Op, Put, RangeQuery, SortOrder, SortTarget, Txn,
};
use crate::types::{Key, KeyRange};
use bytes::Bytes;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(super) struct Tokens {
    /// The last is the next.
    tokens: Vec<String>,
}

impl Tokens {
    pub(super) fn of(line: &str) -> Self {
        let tokens = line.split_whitespace().flat_map(|word| {
            // Brackets, semicolons and commas stand for themselves wherever they are.
            let mut parts = vec![String::new()];
            for char in word.chars() {
                if "();,".contains(char) {
                    parts.extend([char.to_string(), String::new()]);
                } else if let Some(last) = parts.last_mut() {
                    last.push(char);
                }
            }
            parts.into_iter().filter(|part| !part.is_empty())
        });
        let mut tokens: Vec<String> = tokens.collect();
        tokens.reverse();
        Self { tokens }
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.tokens.last().map(String::as_str)
    }

    pub(super) fn word(&mut self) -> Result<String> {
        self.tokens.pop().ok_or_else(|| "a word is missing".into())
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        Ok(self.tokens.pop().ok_or("a number is missing")?.parse()?)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.tokens.pop();
        }
        found
    }

    fn text(&mut self) -> Result<Bytes> {
        let word = self.word()?;
        Ok(if word == "\"\"" { Bytes::new() } else { Bytes::from(word.into_bytes()) })
    }

    fn range(&mut self) -> Result<KeyRange> {
        let text = self.text()?;
        let Some(dots) = text.windows(2).position(|two| two == b"..") else {
            return Ok(KeyRange::single(Key(text)));
        };
        let (start, end) = (text.slice(..dots), text.slice(dots + 2..));
        let zero = || Bytes::from_static(&[0]);
        Ok(match (start.is_empty(), end.is_empty()) {
            (true, true) => KeyRange::everything(),
            (_, true) => KeyRange::from_wire(start, zero()),
            _ => KeyRange::from_wire(start, end),
        })
    }

    /// `name=value` or `name`, up to the end of the operation.
    fn option(&mut self) -> Option<(String, String)> {
        let ends = ["then", "else", "if", ")", "(", ";", ","];
        let word = self.tokens.pop_if(|word| !ends.contains(&word.as_str()))?;
        let (name, value) = word.split_once('=').unwrap_or((&word, "true"));
        Some((name.to_owned(), value.to_owned()))
    }

    pub(super) fn op(&mut self) -> Result<Op> {
        if self.take("(") {
            let op = self.op()?;
            return if self.take(")") { Ok(op) } else { Err("a bracket is missing".into()) };
        }
        match self.word()?.as_str() {
            "put" => Ok(Op::Put(self.put()?)),
            "get" => Ok(Op::Range(self.get()?)),
            "del" => {
                let range = self.range()?;
                let prev_kv = self.option().is_some_and(|(name, _)| name == "prev_kv");
                Ok(Op::DeleteRange(DeleteRange { range, prev_kv }))
            }
            "txn" => Ok(Op::Txn(self.txn()?)),
            other => Err(format!("no such operation: {other}").into()),
        }
    }

    fn put(&mut self) -> Result<Put> {
        let mut put = Put { key: self.text()?, ..Put::default() };
        while let Some((name, value)) = self.option() {
            match name.as_str() {
                "lease" => put.lease = value.parse()?,
                "prev_kv" => put.prev_kv = true,
                "ignore_value" => put.ignore_value = true,
                "ignore_lease" => put.ignore_lease = true,
                "\"\"" => put.value = Bytes::new(),
                _ => put.value = Bytes::from(name.into_bytes()),
            }
        }
        Ok(put)
    }

    fn get(&mut self) -> Result<RangeQuery> {
        let mut query = RangeQuery::of(self.range()?);
        while let Some((name, value)) = self.option() {
            match name.as_str() {
                "limit" => query.limit = value.parse()?,
                "rev" => query.revision = value.parse()?,
                "serializable" => query.serializable = true,
                "keys_only" => query.keys_only = true,
                "count_only" => query.count_only = true,
                "min_mod" => query.min_mod_revision = value.parse()?,
                "max_mod" => query.max_mod_revision = value.parse()?,
                "min_create" => query.min_create_revision = value.parse()?,
                "max_create" => query.max_create_revision = value.parse()?,
                "order" => {
                    query.sort_order = if value == "asc" { SortOrder::Ascend } else { SortOrder::Descend }
                }
                "sort" => {
                    query.sort_target = match value.as_str() {
                        "version" => SortTarget::Version,
                        "create" => SortTarget::Create,
                        "mod" => SortTarget::Mod,
                        "value" => SortTarget::Value,
                        _ => SortTarget::Key,
                    }
                }
                other => return Err(format!("no such option: {other}").into()),
            }
        }
        Ok(query)
    }

    fn txn(&mut self) -> Result<Txn> {
        let mut txn = Txn::default();
        if self.take("if") {
            txn.compare.push(self.compare()?);
            while self.take(",") {
                txn.compare.push(self.compare()?);
            }
        }
        if self.take("then") {
            txn.success = self.ops()?;
        }
        if self.take("else") {
            txn.failure = self.ops()?;
        }
        Ok(txn)
    }

    fn ops(&mut self) -> Result<Vec<Op>> {
        let mut ops = vec![self.op()?];
        while self.take(";") {
            ops.push(self.op()?);
        }
        Ok(ops)
    }

    fn compare(&mut self) -> Result<Compare> {
        let target = self.word()?;
        let range = self.range()?;
        let result = match self.word()?.as_str() {
            "=" => Some(CompareResult::Equal),
            "!=" => Some(CompareResult::NotEqual),
            "<" => Some(CompareResult::Less),
            ">" => Some(CompareResult::Greater),
            _ => None,
        };
        let target = match target.as_str() {
            "version" => CompareTarget::Version(self.number()?),
            "create" => CompareTarget::Create(self.number()?),
            "mod" => CompareTarget::Mod(self.number()?),
            "lease" => CompareTarget::Lease(self.number()?),
            "value" => CompareTarget::Value(self.text()?),
            _ => {
                self.word()?;
                CompareTarget::Unknown
            }
        };
        Ok(Compare { range, target, result })
    }
}
