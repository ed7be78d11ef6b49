use std::collections::HashMap;

/// The pickle protocol's machine, for state dictionaries: it makes values, and never calls anything. What would be called in
/// Python stays a [`Node::Call`] with its arguments.
///
/// Source: Python's `pickletools`.
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
    /// Bytes it took.
    pub len: usize,
}

/// A value's place among all values. Values refer to each other by it, so that no nesting is too deep.
pub(super) type Id = usize;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// None, a number or bytes that nobody needs.
    Other,
    Int(i64),
    Text(String),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`.
    Global(String),
    /// What a callable is called with.
    Call(Id, Id),
    /// Something outside the pickle, named by this.
    Persistent(Id),
}

/// Deeper stacks than this are no state dictionaries.
const MOST_MARKS: usize = 1 << 16;

impl Pickle {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// Errors: if it is damaged, or uses what state dictionaries do not.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut machine =
            Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        let root = machine.run()?;
        Ok(Self { nodes: machine.nodes, root, len: machine.at })
    }

    pub fn root(&self) -> Id {
        self.root
    }

    /// Every value there is.
    pub fn ids(&self) -> std::ops::Range<Id> {
        0..self.nodes.len()
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a tuple or a list.
    pub fn elements(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(ids) | Node::List(ids) => Some(ids),
            _ => None,
        }
    }

    /// The name of what is called, and its arguments.
    pub fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Node::Call(callable, arguments) = self.node(id) else { return None };
        let Node::Global(name) = self.node(*callable) else { return None };
        Some((name, self.elements(*arguments)?))
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // PROTO, FRAME: how it is written.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.mark()?,
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::Other),
            0x88 | 0x89 => self.push(Node::Int(i64::from(opcode == 0x88))),
            b'K' => self.number(1)?,
            b'M' => self.number(2)?,
            b'J' => {
                let bytes = self.take(4)?.try_into().expect("four bytes");
                self.push(Node::Int(i32::from_le_bytes(bytes).into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.push(Node::Other);
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'U' | b'C' => self.bytes(1)?,
            b'T' | b'B' => self.bytes(4)?,
            0x8e => self.bytes(8)?,
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            0x8f => self.push(Node::List(Vec::new())),
            b't' => self.collect(Node::Tuple)?,
            b'l' => self.collect(Node::List)?,
            0x85..=0x87 => self.small_tuple(usize::from(opcode - 0x84))?,
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(items)?;
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => self.memoize()?,
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(format!("{module}.{name}")));
            }
            0x93 => self.stack_global()?,
            b'R' | 0x81 => self.call()?,
            // BUILD gives an object its attributes, which no tensor needs.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            other => return Err(format!("the pickle opcode 0x{other:02x} is not one of state dictionaries")),
        }
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| "the pickle ends too early".to_owned())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn unsigned(&mut self, n: usize) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(self.take(n)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes after their number.
    fn counted(&mut self, n: usize) -> Result<&'a [u8], String> {
        let len = self.unsigned(n)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or("the pickle ends too early")?;
        self.at += len + 1;
        Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// What was pushed since the last mark stays until it is asked for.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, String> {
        let empty = || "the pickle takes more from its stack than there is".to_owned();
        self.stack.last().copied().filter(|_| self.stack.len() > self.floor()).ok_or_else(empty)
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn mark(&mut self) -> Result<(), String> {
        if self.marks.len() == MOST_MARKS {
            return Err("the pickle is nested too deeply".into());
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("the pickle has no mark where one is needed")?;
        Ok(self.stack.split_off(mark))
    }

    fn number(&mut self, n: usize) -> Result<(), String> {
        let value = self.unsigned(n)?;
        self.push(Node::Int(value as i64));
        Ok(())
    }

    /// A whole number of up to 255 bytes; those which do not fit 64 bits are of no use here.
    fn long(&mut self) -> Result<(), String> {
        let bytes = self.counted(1)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut value = [if negative { 0xff } else { 0 }; 8];
        self.push(if bytes.len() <= 8 {
            value[..bytes.len()].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(value))
        } else {
            Node::Other
        });
        Ok(())
    }

    fn text(&mut self, n: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.counted(n)?).map_err(|_| "a text in the pickle is no UTF-8")?;
        self.push(Node::Text(text.to_owned()));
        Ok(())
    }

    /// Python 2 wrote texts so.
    fn bytes(&mut self, n: usize) -> Result<(), String> {
        let node = std::str::from_utf8(self.counted(n)?).map_or(Node::Other, |text| Node::Text(text.to_owned()));
        self.push(node);
        Ok(())
    }

    fn collect(&mut self, make: fn(Vec<Id>) -> Node) -> Result<(), String> {
        let items = self.above_mark()?;
        self.push(make(items));
        Ok(())
    }

    fn small_tuple(&mut self, n: usize) -> Result<(), String> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let list = self.top()?;
        // What objects of other types do with it is theirs.
        if let Node::List(list) = &mut self.nodes[list] {
            list.extend(items);
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<(), String> {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("a dictionary in the pickle has a key without a value".into());
        }
        if let Node::Dict(dict) = &mut self.nodes[dict] {
            dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn put(&mut self, n: usize) -> Result<(), String> {
        let (key, top) = (self.unsigned(n)?, self.top()?);
        self.memo.insert(key, top);
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(self.memo.len() as u64, top);
        Ok(())
    }

    fn get(&mut self, n: usize) -> Result<(), String> {
        let key = self.unsigned(n)?;
        let id = *self.memo.get(&key).ok_or_else(|| format!("the pickle has nothing under number {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.nodes[module], &self.nodes[name]) {
            (Node::Text(module), Node::Text(name)) => {
                let global = format!("{module}.{name}");
                self.push(Node::Global(global));
                Ok(())
            }
            _ => Err("the pickle names something by what is no text".into()),
        }
    }

    /// A dictionary that remembers its order is one; all other calls are kept, not made.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let ordered = matches!(&self.nodes[callable], Node::Global(name) if name == "collections.OrderedDict");
        self.push(if ordered { Node::Dict(Vec::new()) } else { Node::Call(callable, arguments) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_dictionary_is_read() {
        // pickle.dumps(collections.OrderedDict([("a", (1, -2)), ("b", [None, True, 70000])]), protocol=2)
        let bytes = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00aq\x02K\x01J\xfe\xff\xff\xff\x86q\x03X\x01\x00\x00\x00bq\x04]q\x05(N\x88Jp\x11\x01\x00eu.";
        let pickle = Pickle::parse(bytes).unwrap();
        assert_eq!(pickle.len, bytes.len());
        let Node::Dict(items) = pickle.node(pickle.root()) else { panic!("no dictionary") };
        let ints = |id: Id| pickle.elements(id).unwrap().iter().map(|&id| pickle.int(id)).collect::<Vec<_>>();
        assert_eq!(items.iter().map(|(key, _)| pickle.text(*key).unwrap()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(ints(items[0].1), [Some(1), Some(-2)]);
        assert_eq!(ints(items[1].1), [None, Some(1), Some(70_000)]);
    }

    #[test]
    fn nothing_is_called() {
        // What os.system("x") would be.
        let pickle = Pickle::parse(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R.").unwrap();
        assert_eq!(pickle.call(pickle.root()).unwrap().0, "os.system");
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x80\x02",
            b"N",
            b"(u.",
            b"h\x07.",
            b"X\xff\xff\xff\xff",
            b"c",
            b"}(K\x01u.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"Z.",
            b"R.",
        ] {
            assert!(Pickle::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let mut bytes = vec![b']'; 1];
        bytes.extend([0x85_u8; 1_000_000]);
        bytes.push(b'.');
        Pickle::parse(&bytes).unwrap();
        assert!(Pickle::parse(&vec![b'('; 1_000_000]).is_err());
    }
}
