//! One behavioural suite for every kind of store, and what only the embedded one has: reopening, rebuilding, refusing.

mod damage;
mod disputes;
mod histories;
mod last_entry;
mod outage;
mod reopen;
mod sequences;
mod snapshots;
mod stall;
mod suite;
mod support;
mod work;

/// Each case runs against each kind of store.
macro_rules! against_every_store {
    ($($module:ident::$case:ident,)*) => {
        mod memory {
            $(#[test]
            fn $case() {
                super::suite::$module::$case(&super::support::memory());
            })*
        }
        mod embedded {
            $(#[test]
            fn $case() {
                super::suite::$module::$case(&super::support::embedded());
            })*
        }
    };
}

against_every_store! {
    tokens::a_token_has_one_winner_among_many_keys,
    tokens::the_same_key_and_wish_get_the_same_certificate_again,
    tokens::a_redeemed_token_is_spent_for_another_key_another_wish_and_after_its_time,
    tokens::a_token_whose_certificate_was_revoked_or_has_ended_is_spent,
    tokens::unknown_expired_and_revoked_tokens_are_told_apart,
    tokens::a_token_id_is_given_once_and_its_registration_comes_with_it,
    tokens::a_registration_made_for_a_token_goes_with_its_last_certificate,
    tokens::a_registration_that_somebody_changed_outlives_its_token,
    tokens::a_registration_that_a_later_token_stands_on_outlives_the_token_that_brought_it,
    renewals::a_repeated_renewal_gets_the_same_certificate,
    renewals::another_key_of_the_same_parent_is_a_fork_and_refused_where_forks_are,
    renewals::a_fork_is_recognised_after_the_first_child_has_expired,
    renewals::a_parent_that_is_revoked_or_unknown_renews_nothing,
    renewals::an_expired_parent_renews_nothing,
    renewals::what_is_revoked_between_judgement_and_commit_is_not_recorded,
    renewals::a_registration_made_anew_does_not_renew_and_a_changed_one_is_asked_again,
    keys::two_identities_race_for_one_key_and_one_wins,
    keys::a_key_is_free_again_when_its_certificates_are_revoked_or_have_ended,
    keys::a_revoked_newest_certificate_does_not_free_a_key_that_an_older_one_binds,
    keys::a_key_is_never_freed_by_many_short_certificates_after_a_long_one,
    keys::a_certificate_that_expires_early_does_not_hide_one_that_binds_the_key,
    keys::a_key_revoked_for_compromise_is_barred_permanently,
    admin::an_apply_is_all_or_nothing_and_says_what_it_did,
    admin::a_dry_run_changes_nothing,
    admin::deleting_what_is_not_there_deletes_nothing,
    admin::revoking_says_what_was_revoked_and_keeps_the_first_reason,
    admin::a_crl_number_never_falls,
    admin::another_trust_domain_is_refused_and_names_may_change,
    admin::a_new_authority_replaces_the_old_which_goes_after_its_last_leaf,
    admin::a_leaf_recorded_together_with_the_next_authority_keeps_its_own_in_place,
    admin::refusals_are_recorded,
    authorities::the_key_of_an_authority_gets_no_leaf_even_in_the_same_batch,
    authorities::a_key_that_gets_a_leaf_in_the_same_batch_becomes_no_authority,
    authorities::a_key_that_is_barred_becomes_no_authority_nor_is_above_one,
    authorities::an_earlier_certificate_of_an_authority_stays_until_the_last_leaf_under_it_expired,
    inventory::certificates_are_found_by_serial_id_prefix_and_key,
    inventory::pages_join_to_the_whole_newest_first,
    revocations::a_lineage_is_everything_renewed_from_a_certificate,
    revocations::what_is_renewed_between_selection_and_decision_is_revoked_with_its_lineage,
    revocations::an_identity_is_revoked_with_what_is_recorded_since_the_selection,
    revocations::a_compromised_key_is_barred_as_key_of_a_request_and_of_a_parent,
    revocations::keys_of_expired_certificates_are_barred_with_their_lineage_and_identity,
    revocations::what_was_renewed_with_another_certificate_of_a_stolen_key_belongs_to_its_lineage,
    revocations::more_certificates_than_one_entry_revokes_are_revoked_by_several,
    revocations::where_no_certificate_is_valid_none_is_revoked_and_the_caller_learns_it,
}
