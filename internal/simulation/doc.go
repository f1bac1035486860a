// Package simulation holds the tests of whose fault a refusal is: real gateways before an
// upstream that plays by a script, hours of it in the time that a test has.
//
// It has no code of its own and knows no more of a gateway than a client, an upstream and
// an operator do. A situation in which nobody must be blamed goes here, as a case of a row.
//
//	go test -run NobodyIsBlamed -v ./internal/simulation                    a sample, as a table
//	go test -run NobodyIsBlamed -v -timeout 60m ./internal/simulation -all  every case
//	go test -run NobodyIsBlamed -v ./internal/simulation -case '^3 N=100'   some of them
//
// -record writes what the sample measures into today_test.go: the numbers that later runs
// show beside their own.
package simulation
