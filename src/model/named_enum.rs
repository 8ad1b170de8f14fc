//! Enums whose variants have a name each, by which they are written and listed.

/// Declares such an enum, with its variants as `ALL` and their names as `as_str`.
macro_rules! named_enum {
    ($(#[$about:meta])* $visibility:vis enum $enum:ident {
        $($(#[$sentence:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$about])*
        $visibility enum $enum {
            $($(#[$sentence])* $variant,)+
        }

        impl $enum {
            /// All variants, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The variant's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

pub(crate) use named_enum;
