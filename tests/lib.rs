//! Nothing: the suite is the test binary `suite`. A package must have a target that can be depended upon.
