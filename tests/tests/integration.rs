//! The one integration binary: one link, one world, many tests.
//!
//! Each module is a part of the promise; each test says its scenario and what it guarantees.

mod integration {
    mod against_kafka;
    mod audit_jobs;
    mod audit_scale;
    mod audit_self_test;
    mod audit_truth;
    mod bench;
    mod bench_audit;
    mod bench_pages;
    mod bench_rows;
    mod bench_seals;
    mod clicks;
    mod cluster;
    mod commands;
    mod dead_letters;
    mod definitions;
    mod documents;
    mod encoders;
    mod faults;
    mod feed;
    mod feed_page;
    mod gaps;
    mod gateway;
    mod heads;
    mod house;
    mod identity;
    mod kill;
    mod live_page;
    mod lost_log;
    mod operators;
    mod pages;
    mod poison;
    mod proofs;
    mod rebalance;
    mod replay;
    mod repurchase;
    mod seals;
    mod seals_elsewhere;
    mod seals_forged;
    mod seals_killed;
    mod secrets;
    mod secured;
    mod service;
    mod slow_clients;
    mod soak;
    mod store_killed;
    mod trouble;
    mod world;
}
