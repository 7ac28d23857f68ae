package remote

import (
	"testing"
	"time"
)

// TestBatchWait: the first host of a batch waits until the last one is done.
func TestBatchWait(t *testing.T) {
	for _, test := range []struct {
		hosts, batch, jobs int
		want               time.Duration
	}{{50, 8, 8, time.Minute}, {50, 9, 8, 2 * time.Minute}, {3, 1000, 8, time.Minute}, {20, 20, 1, 20 * time.Minute},
		{0, 5, 8, time.Minute}} {
		if got := BatchWait(test.hosts, test.batch, test.jobs); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
