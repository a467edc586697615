"""Texts of several registers in Chinese, Japanese and Korean, and in alphabets, for tests of encodings."""

from collections.abc import Mapping

CHINESE = (
    "配送晚了一个星期，要求退款。",
    "质量非常好，下次还会购买！",
    "颜色和照片不一样（订单号：①二三）。",
    "北京市朝阳区建国路88号现代城5号楼1203室，王小明，13800138000",
    "产品型号 XJ-2000，支持 USB 3.0 接口，保修期为 24 个月",
    "人工智能（Artificial Intelligence，AI）是模拟人类智能的技术，包括学习、推理和感知等能力。",
    "尊敬的客户：您好！您的快递已由门卫代收，请及时领取。如有疑问请联系客服。",
    "我们周末去公园散步，看见许多孩子在草地上放风筝，天气晴朗，大家都很高兴。",
    "本合同自双方签字盖章之日起生效，一式两份，甲乙双方各执一份，具有同等法律效力。",
)
TRADITIONAL = (
    "配送晚了一個星期，要求退款。",
    "品質非常好，下次還會購買！",
    "臺北市中正區重慶南路一段122號，陳小姐，02-2311-3731",
    "產品型號 XJ-2000，支援 USB 3.0 介面，保固期為 24 個月",
    "繁體中文的內容說明，很好。",
    "親愛的客戶您好，您的包裹已經送達管理室，請儘快領取，如有疑問請與我們聯絡。",
    "紅色的鞋子與帽子，三十元整，歡迎選購。",
)
JAPANESE = (
    "配達が一週間も遅れました。返金をお願いします。",
    "品質はとても良いです！また購入します。",
    "色が写真と違います（品番：①大サイズ）。",
    "カスタマーセンターに電話がつながりません。2026年3月5日に注文しました。",
    "東京都千代田区丸の内１丁目９－１ 山田太郎 様",
    "バッテリーが一日持ちません。",
    "ありがとうございました。",
    "商品コード ABC-123、サイズ M、USB ケーブル付き",
    "本契約は、双方が記名押印した日から効力を生じ、契約書を二通作成し、各自一通を保有する。",
)
KOREAN = (
    "배송이 일주일이나 늦었습니다. 환불을 요청합니다.",
    "제품 품질이 매우 좋아요! 다음에도 구매할게요.",
    "색상이 사진과 다릅니다 (사이즈는 딱 맞네요).",
    "고객센터 전화 연결이 안 됩니다. 2026년 3월 5일에 주문했어요.",
    "서울특별시 강남구 테헤란로 152, 김민수 귀하",
    "설명서가 한국어로 되어 있지 않네요.",
    "친절한 상담 감사합니다.",
    "모델명 XJ-2000, USB 3.0 지원, 보증기간 24개월",
    "이 계약은 양 당사자가 서명한 날부터 효력이 발생하며 각각 한 부씩 보관한다.",
    "펩시콜라 뜯다가 쏟았는데 옷이 홀딱 젖었어요ㅠㅠ 똠방각하",
)
WRITTEN: Mapping[str, tuple[str, ...]] = {
    "gb18030": CHINESE,
    "gbk": CHINESE,
    "big5": TRADITIONAL,
    "cp950": TRADITIONAL,
    "cp932": JAPANESE,
    "shift_jis": JAPANESE,
    "euc_jp": JAPANESE,
    "iso2022_jp": JAPANESE,
    "cp949": KOREAN,
    "euc_kr": KOREAN[:-1],
}
"""By the encoding that they are written in; a text that an encoding does not have is left out by ``lines``."""
WORDS = (
    *("好", "谢谢", "王小明", "上海市", "笔记本电脑", "联通", "移动硬盘", "謝謝", "臺北", "筆記型電腦"),
    *("山田", "東京都", "ありがとう", "ケーブル", "良い", "감사", "서울", "좋아요", "김민수", "배터리"),
)
ALPHABETS: Mapping[str, tuple[str, ...]] = {
    "cp1252": (
        "Müller,café au lait\nGünther,weiß",
        "naïve,1",
        "Äpfel und Öl",
        "La señora compró piñas",
        "«Ça va ?» déjà vu à Nîmes",
        "ÄÖÜ",
        "Größenänderung für Straßenbeläge",
        "São Paulo, coração, ação",
    ),
    "cp850": ("Grüße aus Köln, für alle Fälle", "zurück geführt für über", "naïve café"),
    "cp437": ("déjà vu à la crème", "für Köln", "señor"),
    "mac_roman": ("café crème brûlée", "Müller für Köln"),
    "cp1250": ("Zażółć gęślą jaźń", "Příliš žluťoučký kůň úpěl ďábelské ódy", "árvíztűrő tükörfúrógép"),
    "cp1251": (
        "Доставка опоздала на неделю, прошу вернуть деньги.",
        "Качество отличное",
        "ПРИВЕТ",
        "Иванов Иван",
        "да",
    ),
    "koi8_r": ("Доставка опоздала на неделю.", "Качество отличное", "Москва"),
    "cp866": ("Доставка опоздала на неделю.", "Качество отличное", "Москва"),
    "cp1253": ("Η παράδοση καθυστέρησε μια εβδομάδα.", "Αθήνα", "Ευχαριστώ πολύ"),
    "cp1254": ("Teşekkür ederim, çok güzel ürün", "İstanbul Şişli"),
    "cp1255": ("המשלוח התעכב בשבוע", "תודה רבה"),
    "cp1256": ("تأخر التوصيل أسبوعا كاملا", "شكرا"),
    "cp874": ("จัดส่งล่าช้าหนึ่งสัปดาห์", "ขอบคุณมาก"),
}


def lines(texts: tuple[str, ...], encoding: str) -> list[str]:
    """The texts that ``encoding`` has all characters of."""
    kept = []
    for text in texts:
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            continue
        kept.append(text)
    assert len(kept) > len(texts) // 2, encoding
    return kept
