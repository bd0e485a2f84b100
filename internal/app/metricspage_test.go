package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// TestMetricsPageStops: the end of the service waits for the metrics that are gathered, and none
// are gathered from then on.
func TestMetricsPageStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		gathered := 0
		page := &metricsPage{gathering: make(chan struct{}, 1), stopped: make(chan struct{}), gather: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			gathered++
			<-finish
		})}
		scrape := func() { page.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)) }
		go scrape()
		synctest.Wait()
		go scrape() // waits for the first
		stopped := false
		go func() {
			page.stop()
			stopped = true
		}()
		synctest.Wait()
		if stopped {
			t.Error("the end did not wait for the metrics that are gathered")
		}
		close(finish)
		synctest.Wait()
		scrape()
		if !stopped || gathered != 1 {
			t.Errorf("stopped %v after metrics were gathered %d times, want once", stopped, gathered)
		}
	})
}
