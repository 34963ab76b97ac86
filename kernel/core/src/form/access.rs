//! Roles and tokens.

use kelson_model::access::Role;

use crate::command::{CreateToken, RevokeToken, UseToken};
use crate::record::{Joined, TokenRecord};

numbers!(Role, "role" { 0 = Reader, 1 = Operator, 2 = Admin, 3 = Agent, 4 = Member });
form!(CreateToken {
    role,
    namespace,
    name,
    hash,
    ttl,
    uses
});
form!(UseToken {
    token,
    hash,
    role,
    key,
    directory,
    name
});
form!(RevokeToken { token });
form!(TokenRecord {
    id,
    role,
    namespace,
    name,
    hash,
    by,
    made,
    made_wall,
    ttl,
    uses,
    joined
});
form!(Joined { key, id });
