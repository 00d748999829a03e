//! What the environment says: nothing beyond what the client reads (whom to be, where the hub or the broker is,
//! where state is kept). The names here are the template's, so that its routes and this module agree.

/// The input that the template's routes lead to. Messages on any other input are taken the same way.
pub const INPUT: &str = "temperature";

/// The output on which alerts leave.
pub const OUTPUT: &str = "alert";
