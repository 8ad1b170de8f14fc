//! What the store promises, asked of both backends.

mod health;
mod history;
mod home;
mod killed;
mod records;
mod release;
mod requests;
mod rotation;
mod secrecy;
mod standby;
mod trail;
mod trouble;
mod written;

use home::{Home, connection, name, token, whole};

/// Makes of each claim two tests, one for each backend.
macro_rules! of_both {
    ($($claim:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::store::Home::sqlite()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::store::Home::postgres().await).await;
            })*
        }
    };
}
use of_both;
