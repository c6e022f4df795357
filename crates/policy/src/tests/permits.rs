//! Decisions are small and borrowed; that a permit cannot be forged is a test in the documentation of `Permit`.

#[test]
fn decisions_borrow_from_the_set_and_own_nothing() {
    // What is `Copy` owns no memory: a decision allocates nothing that it could hand out.
    fn owns_nothing<T: Copy>() {}
    owns_nothing::<crate::Permit<'_>>();
    owns_nothing::<crate::Refused<'_>>();
    owns_nothing::<crate::Outbound<'_>>();
}
