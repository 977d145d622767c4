//! Enumerations whose variants have a word in a price list or in a table, said once each.
//!
//! [`words`] declares variants without data, [`named`] variants with data and, beside them, an
//! enumeration of their names. Every reader of a word goes through `parse` and one exhaustive
//! `match`, so that a word that is declared and not read does not compile.
//!
//! Invariant: a word that was written is read back as what it was written for.

/// An enumeration of words: `ALL`, `as_str`, `parse` and `Display`.
macro_rules! words {
    ($(#[$about:meta])* $vis:vis enum $Name:ident {
        $($(#[$doc:meta])* $Variant:ident = $word:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $Name { $($(#[$doc])* $Variant,)+ }

        impl $Name {
            /// Every one, in the order in which help lists them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$Variant),+];

            /// The word, as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $word,)+ }
            }

            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$Variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    };
}

/// An enumeration with data, and the [`words`] that name its variants: `name` and `as_str`.
macro_rules! named {
    ($(#[$about:meta])* $vis:vis enum $Type:ident named by $(#[$about_name:meta])* $Name:ident {
        $($(#[$doc:meta])* $Variant:ident
            $(($($value:ty),+))? $({ $($field:ident: $of:ty),+ })? = $word:literal,)+
    }) => {
        $(#[$about])*
        $vis enum $Type { $($(#[$doc])* $Variant $(($($value),+))? $({ $($field: $of),+ })?,)+ }

        $crate::words::words! {
            $(#[$about_name])*
            $vis enum $Name { $($Variant = $word,)+ }
        }

        impl $Type {
            pub fn name(&self) -> $Name {
                match self { $(Self::$Variant { .. } => $Name::$Variant,)+ }
            }

            /// The name, as it is written.
            pub fn as_str(&self) -> &'static str {
                self.name().as_str()
            }
        }
    };
}

pub(crate) use {named, words};

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn either<const N: usize>(words: [&str; N]) -> String {
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    words! {
        enum Fruit {
            Apple = "apple",
            Pear = "pear",
        }
    }

    named! {
        #[derive(Debug, PartialEq)]
        enum Basket named by BasketName {
            Empty = "empty",
            Of(Fruit) = "of",
            Many { fruit: Fruit, count: u32 } = "many",
        }
    }

    #[test]
    fn a_word_is_read_back_as_what_it_was_written_for() {
        for fruit in Fruit::ALL {
            assert_eq!(Fruit::parse(fruit.as_str()), Some(fruit));
        }
        assert_eq!(Fruit::parse("Apple"), None);
        for basket in [Basket::Empty, Basket::Of(Fruit::Pear), Basket::Many { fruit: Fruit::Apple, count: 2 }]
        {
            assert_eq!(BasketName::parse(basket.as_str()), Some(basket.name()), "{basket:?}");
        }
        assert_eq!(BasketName::ALL.map(BasketName::as_str), ["empty", "of", "many"]);
    }

    #[test]
    fn alternatives_are_a_sentence() {
        assert_eq!(either(["a"]), "a");
        assert_eq!(either(["a", "b"]), "a or b");
        assert_eq!(either(["a", "b", "c"]), "a, b or c");
    }
}
