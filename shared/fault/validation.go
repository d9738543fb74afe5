package fault

// ValidationFailed returns the failure of an input that breaks rules.
func ValidationFailed(violations ...Violation) error {
	return &Error{
		Kind: Invalid, Code: "validation-failed", Detail: "The request breaks one or more rules.", Violations: violations,
	}
}
