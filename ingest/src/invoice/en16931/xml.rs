//! An XML file as a tree, without anything that an invoice does not need.
//!
//! Names are told apart by their namespace's URI, whatever prefix a file gives it, and are known here
//! by the prefixes that the norm uses. Elements of other namespaces, extensions and signatures, are
//! left out with all that is in them, and so is what attached files consist of.
//!
//! Invariant: what a file can make this hold or do is bounded by the constants below. There is no
//! DTD, so no entity means anything but itself.

use super::refusal::{Refusal, quoted};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};
use quick_xml::reader::Reader;
use std::borrow::Cow;
use std::ops::Range;

/// The largest file.
pub const MAX_BYTES: u64 = 64 << 20;
const MAX_ELEMENTS: u32 = 1_000_000;
const MAX_DEPTH: usize = 32;
/// Of one element, its attributes included.
const MAX_TAG_BYTES: usize = 16 << 10;
const MAX_ATTRIBUTES: usize = 32;
const MAX_TEXT_BYTES: usize = 64 << 10;

/// The namespaces of both syntaxes, and what the norm calls them. UBL's two roots need no prefix.
const SPACES: &[(&str, &str)] = &[
    ("urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2", "cbc:"),
    ("urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2", "cac:"),
    ("urn:oasis:names:specification:ubl:schema:xsd:Invoice-2", "ubl:"),
    ("urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2", "ubl:"),
    ("urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100", "rsm:"),
    ("urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100", "ram:"),
    ("urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100", "udt:"),
    ("urn:un:unece:uncefact:data:standard:QualifiedDataType:100", "qdt:"),
];

/// What a file in UTF-8 may say that it is in.
const ENCODINGS: &[&[u8]] = &[b"utf-8", b"utf8", b"us-ascii"];

const BESIDE_ROOT: &str = "there is text beside the root";

/// Attached files, in base64.
const ATTACHED: &[&str] = &["cbc:EmbeddedDocumentBinaryObject", "ram:AttachmentBinaryObject"];

/// One element and what is in it.
#[derive(Debug)]
pub struct Element {
    /// As the norm writes it: `cbc:ID`.
    pub name: Box<str>,
    /// Where it begins in the file, from 1.
    pub line: u32,
    /// Its bytes in the file.
    pub source: Range<usize>,
    attributes: Vec<Attribute>,
    text: String,
    children: Vec<Element>,
}

/// An attribute without a namespace.
#[derive(Debug)]
struct Attribute {
    name: Box<str>,
    value: Box<str>,
}

impl Element {
    /// Its text, without blanks around it; none where there is no other.
    pub fn text(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    /// An attribute without a namespace, likewise.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| &*attribute.name == name);
        found.map(|attribute| attribute.value.trim()).filter(|value| !value.is_empty())
    }

    /// All children of a name, in their order.
    pub fn each<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| &*child.name == name)
    }

    /// The element at a path of names, with `/` between them; none where there is none.
    ///
    /// # Errors
    /// Two of a name: which of them counts is nobody's guess.
    pub fn at(&self, path: &str) -> Result<Option<&Element>, Refusal> {
        let mut here = self;
        for name in path.split('/') {
            let mut found = here.each(name);
            match (found.next(), found.next()) {
                (Some(child), None) => here = child,
                (None, _) => return Ok(None),
                (Some(_), Some(second)) => {
                    return Err(Refusal::at(second.line, format!("`{name}` is there a second time")));
                }
            }
        }
        Ok(Some(here))
    }
}

/// Reads a whole file, without a byte order mark, and gives the root.
///
/// # Errors
/// What is not XML in UTF-8, has a DTD, or is beyond a bound.
pub fn parse(bytes: &[u8]) -> Result<Element, Refusal> {
    if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_BYTES) {
        return Err(Refusal::File(format!("the file is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let text = str::from_utf8(bytes)
        .map_err(|_| Refusal::File("the file is not in UTF-8; write it anew in UTF-8".to_owned()))?;
    // The reader would pass over a mark, and tell places without it.
    if text.starts_with('\u{feff}') {
        return Err(Refusal::at(1, BESIDE_ROOT));
    }
    Parser::new(text).run()
}

struct Parser<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    namespaces: NamespaceResolver,
    /// The elements that have begun and not ended; the last is the innermost.
    open: Vec<Element>,
    /// How many elements have begun and not ended within one that is left out, itself included.
    left_out: usize,
    elements: u32,
    root: Option<Element>,
    /// Up to where lines are counted, and how many there were.
    counted: (usize, u32),
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self {
            text,
            reader,
            namespaces: NamespaceResolver::default(),
            open: Vec::new(),
            left_out: 0,
            elements: 0,
            root: None,
            counted: (0, 1),
        }
    }

    fn run(mut self) -> Result<Element, Refusal> {
        loop {
            let start = self.position();
            match self.reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(event) => self.event(event, start)?,
                Err(error) => return Err(self.malformed(start, &error)),
            }
        }
        if let Some(open) = self.open.last() {
            return Err(Refusal::at(
                open.line,
                format!("{} does not end; the file is cut off", quoted(&open.name)),
            ));
        }
        match self.root {
            Some(root) if self.left_out == 0 => Ok(root),
            _ => Err(Refusal::File("the file is no invoice in UBL 2 or CII".to_owned())),
        }
    }

    fn event(&mut self, event: Event<'a>, start: usize) -> Result<(), Refusal> {
        match event {
            Event::Start(tag) => self.begin(&tag, start),
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => match text.xml10_content() {
                Ok(text) => self.push_text(&text, start),
                Err(error) => Err(self.malformed(start, &error)),
            },
            Event::CData(text) => match text.xml10_content() {
                Ok(text) => self.push_text(&text, start),
                Err(error) => Err(self.malformed(start, &error)),
            },
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|error| self.malformed(start, &error))?;
                let meant = match &*name {
                    "lt" => '<',
                    "gt" => '>',
                    "amp" => '&',
                    "apos" => '\'',
                    "quot" => '"',
                    _ => match reference.resolve_char_ref() {
                        Ok(Some(character)) => character,
                        _ => {
                            let what = format!(
                                "{} means nothing here; there is no DTD",
                                quoted(&format!("&{name};"))
                            );
                            return Err(self.refused(start, what));
                        }
                    },
                };
                self.push_text(meant.encode_utf8(&mut [0; 4]), start)
            }
            Event::DocType(_) => {
                Err(self.refused(start, "a DOCTYPE is refused; an invoice needs no DTD".to_owned()))
            }
            Event::Decl(declaration) => match declaration.encoding() {
                None => Ok(()),
                Some(Ok(encoding)) if ENCODINGS.iter().any(|known| encoding.eq_ignore_ascii_case(known)) => {
                    Ok(())
                }
                Some(_) => {
                    Err(self.refused(start, "it says another encoding; write it anew in UTF-8".to_owned()))
                }
            },
            Event::PI(_) | Event::Comment(_) | Event::Empty(_) | Event::Eof => Ok(()),
        }
    }

    fn begin(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<(), Refusal> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(self.refused(start, format!("there are more than {MAX_ELEMENTS} elements")));
        }
        if self.open.len() + self.left_out >= MAX_DEPTH {
            return Err(self.refused(start, format!("elements lie more than {MAX_DEPTH} deep")));
        }
        if self.open.is_empty() && self.left_out == 0 && self.elements > 1 {
            return Err(self.refused(start, "a second root begins here".to_owned()));
        }
        if tag.len() > MAX_TAG_BYTES || tag.attributes().with_checks(false).count() > MAX_ATTRIBUTES {
            return Err(
                self.refused(start, "an element has too many attributes, or too long ones".to_owned())
            );
        }
        let attributes = self.attributes(tag, start)?;
        self.namespaces.push(tag).map_err(|error| self.malformed(start, &error))?;
        let prefix = match self.namespaces.resolve_element(tag.name()).0 {
            ResolveResult::Bound(Namespace(uri)) => {
                SPACES.iter().find(|(known, _)| known.as_bytes() == uri).map(|(_, prefix)| *prefix)
            }
            ResolveResult::Unbound => None,
            ResolveResult::Unknown(prefix) => {
                let prefix = quoted(&String::from_utf8_lossy(&prefix));
                return Err(self.refused(start, format!("the prefix {prefix} has no namespace")));
            }
        };
        let (Some(prefix), 0) = (prefix, self.left_out) else {
            self.left_out += 1;
            return Ok(());
        };
        let local = tag.local_name();
        let name = format!("{prefix}{}", String::from_utf8_lossy(local.as_ref())).into();
        let line = self.line(start);
        self.open.push(Element {
            name,
            line,
            source: start..start,
            attributes,
            text: String::new(),
            children: Vec::new(),
        });
        Ok(())
    }

    fn attributes(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<Vec<Attribute>, Refusal> {
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| self.malformed(start, &error))?;
            let value: Cow<'_, str> =
                attribute.unescape_value().map_err(|error| self.malformed(start, &error))?;
            if attribute.key.as_namespace_binding().is_none() && attribute.key.prefix().is_none() {
                self.characters(&value, start)?;
                let name = String::from_utf8_lossy(attribute.key.as_ref());
                attributes.push(Attribute { name: name.into(), value: value.into() });
            }
        }
        Ok(attributes)
    }

    fn end(&mut self) {
        self.namespaces.pop();
        if self.left_out > 0 {
            self.left_out -= 1;
            return;
        }
        let mut element = self.open.pop().expect("the reader matches ends with begins");
        element.source.end = self.position();
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn push_text(&mut self, text: &str, start: usize) -> Result<(), Refusal> {
        self.characters(text, start)?;
        if self.left_out > 0 {
            return Ok(());
        }
        let Some(element) = self.open.last_mut() else {
            return match text.trim().is_empty() {
                true => Ok(()),
                false => Err(self.refused(start, BESIDE_ROOT.to_owned())),
            };
        };
        // Blanks between elements are nobody's text, however many lines an invoice has.
        let between = element.text.is_empty() && text.trim().is_empty();
        if between || ATTACHED.contains(&&*element.name) {
            return Ok(());
        }
        element.text.push_str(text);
        if element.text.len() > MAX_TEXT_BYTES {
            let what =
                format!("the text of {} is longer than {} KiB", quoted(&element.name), MAX_TEXT_BYTES >> 10);
            return Err(self.refused(start, what));
        }
        Ok(())
    }

    /// Refuses characters that XML 1.0 does not have.
    fn characters(&mut self, text: &str, start: usize) -> Result<(), Refusal> {
        let foreign = |character: char| match character {
            '\t' | '\n' | '\r' => false,
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => true,
            _ => false,
        };
        match text.chars().any(foreign) {
            true => Err(self.refused(start, "there is a character that XML does not have".to_owned())),
            false => Ok(()),
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).expect("the file is in memory")
    }

    /// The line of a place in the file, which never lies before one that was asked for.
    fn line(&mut self, position: usize) -> u32 {
        let (from, line) = self.counted;
        let passed = self.text.as_bytes().get(from..position).unwrap_or_default();
        let breaks = passed.iter().filter(|byte| **byte == b'\n').count();
        let line = line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        self.counted = (from.max(position), line);
        line
    }

    fn refused(&mut self, position: usize, what: String) -> Refusal {
        Refusal::at(self.line(position), what)
    }

    fn malformed(&mut self, position: usize, error: &dyn std::fmt::Display) -> Refusal {
        let error = error.to_string();
        let short: String = error.chars().take(200).collect();
        self.refused(position, format!("it is not well-formed XML: {short}"))
    }
}
