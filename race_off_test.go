//go:build !race

package keycycler

// raceDetector tells that allocations are not what they are without it.
const raceDetector = false
