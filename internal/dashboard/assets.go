package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages name.
type asset struct {
	// url has a hash of the content in its name, so that browsers may keep it for good.
	url, kind string
	content   []byte
}

// AssetPath is below what the stylesheet, the script and the icon are served. They say nothing about anybody.
const AssetPath = "/assets/"

// Look gives the paths of the stylesheet and the icon of the pages.
func Look() (stylesheet, icon string) {
	assets, err := newAssets()
	if err != nil {
		panic(err) // they are in the program
	}
	return assets["style.css"].url, assets["icon.svg"].url
}

// newAssets reads the files by their names.
func newAssets() (map[string]asset, error) {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	assets := map[string]asset{}
	for _, entry := range entries {
		content, err := assetFiles.ReadFile("assets/" + entry.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(entry.Name())
		assets[entry.Name()] = asset{
			url:     AssetPath + strings.TrimSuffix(entry.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext,
			kind:    kinds[ext],
			content: content,
		}
	}
	return assets, nil
}

// registerAssets serves the files, which say nothing about anybody, to everybody.
func (d *Dashboard) registerAssets(e *echo.Echo) {
	for _, a := range d.assets {
		e.GET(a.url, func(c echo.Context) error {
			header := c.Response().Header()
			header.Set("Cache-Control", "public, max-age=31536000, immutable")
			header.Set("X-Content-Type-Options", "nosniff")
			header.Set("Content-Security-Policy", "default-src 'none'; style-src 'none'")
			return c.Blob(http.StatusOK, a.kind, a.content)
		})
	}
}
